"""Where log lines go, neither blocking the loop nor losing an alert."""
