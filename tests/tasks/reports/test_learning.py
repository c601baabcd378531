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


def test_metrics_are_drawn_each_on_axes_of_its_own_with_the_best_epoch():
    figures = {"roc_auc": [0.6, 0.8, 0.7], "f1": [None, 0.5, 0.4], "brier_score": [0.3, 0.2, 0.1]}
    history = {"loss": [3.0, 1.0, 0.5], "validation_loss": [4.0, 2.0, 1.0], "best_epoch": 2}
    losses, plot = learning.section(history | {"metrics": figures, "decided_by": "roc_auc"}).plots
    assert "epoch 2, which is the best by roc_auc of the validation rows" in losses.caption
    drawn = [axes for axes in plot.figure.axes if axes.axison]
    assert [axes.get_ylabel() for axes in drawn] == list(figures)
    for axes, values in zip(drawn, figures.values(), strict=True):
        curve, _, best = axes.get_lines()
        np.testing.assert_array_equal(curve.get_ydata(), np.array(values, np.float64))
        np.testing.assert_array_equal(best.get_xydata(), [[2, values[1]]])
    assert list(plot.data) == ["epoch", "validation_roc_auc", "validation_f1", "validation_brier_score"]
    assert learning.section(history).plots[0].name == "learning_curves"
