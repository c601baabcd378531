"""Learning curves: of one network, and of members with their mean."""

import numpy as np

from tasks.reports import learning


def test_members_are_thin_lines_beside_their_mean():
    members = [
        {"loss": [3.0, 1.0, 0.5], "validation_loss": [4.0, 2.0, 3.0], "best_epoch": 2},
        {"loss": [5.0, 3.0, 1.5], "validation_loss": [6.0, 4.0, 1.0], "best_epoch": 3},
    ]
    means = {name: np.mean([each[name] for each in members], axis=0).tolist() for name in ("loss", "validation_loss")}
    (plot,) = learning.section({**means, "best_epoch": 3, "members": members, "ensemble_loss": 1.25}).plots
    lines = plot.figure.axes[0].get_lines()
    thin = [line.get_ydata() for line in lines if line.get_linewidth() < 0.8]
    np.testing.assert_array_equal(thin, [each[name] for each in members for name in ("loss", "validation_loss")])
    assert "means of 2 members" in plot.caption
    assert "best epoch: 2, 3. The mean of their outputs has a validation loss of 1.250." in plot.caption
