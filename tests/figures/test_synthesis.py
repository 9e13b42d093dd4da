import numpy as np

from vesalius.figures.synthesis import pairs_figure, samples_figure


def images(count, channels=1):
    return np.random.default_rng(0).random((count, channels, 8, 8))


def shown(figure):
    return [axes for axes in figure.axes if axes.images]


def test_a_grid_has_a_row_for_each_class():
    figure = samples_figure(images(20, 3), ["b"] * 10 + ["a"] * 3 + ["c"] * 7)
    named = [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()]
    assert named == ["b", "a", "c"]
    assert len(shown(figure)) == 8 + 3 + 7
    assert np.array_equal(shown(figure)[0].images[0].get_array(), np.moveaxis(images(20, 3)[0], 0, -1))


def test_without_classes_rows_have_no_names():
    figure = samples_figure(images(12))
    assert len(shown(figure)) == 12
    assert not any(axes.get_ylabel() for axes in figure.axes)


def test_pairs_stand_above_each_other_with_their_distance():
    synthetic, training = images(4), images(4)[::-1]
    figure = pairs_figure(synthetic, training, ["0.1", "0.2", "0.3", "0.4"])
    cells = shown(figure)
    assert len(cells) == 8
    assert np.array_equal(cells[1].images[0].get_array(), synthetic[1, 0])
    assert np.array_equal(cells[5].images[0].get_array(), training[1, 0])
    assert [axes.get_xlabel() for axes in cells[4:]] == ["0.1", "0.2", "0.3", "0.4"]
