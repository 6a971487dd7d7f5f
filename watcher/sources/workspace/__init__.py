"""The files of a workspace: a pruned tree, watched for the locks in it."""
