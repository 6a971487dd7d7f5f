from tests.bench import readme


def test_the_readme_shows_the_figures_that_are_kept() -> None:
    """No figure is written by hand: `make figures` puts there what `make bench` measured."""
    assert readme.shown() == readme.section()
