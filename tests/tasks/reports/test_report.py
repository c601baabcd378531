import dataclasses
import re
from html.parser import HTMLParser

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from schemas.profile import ColumnProfile
from schemas.promotion import Check
from schemas.stages import Tuned
from tasks import metrics
from tasks.metrics import Scored
from tasks.reports import report

FIGURES = {
    "regression": {"predicted", "residuals", "residual_histogram"},
    "multioutput_regression": {"predicted", "residuals", "residual_histogram"},
    "binary": {"roc", "precision_recall", "calibration", "confusion", "scores", "costs"},
    "multiclass": {"confusion_counts", "confusion_rates", "roc", "calibration"},
    "multilabel": {"labels", "wrong_labels", "roc", "calibration"},
}
ODD = ('<script>alert("1")</script>', "a\nb\x00\t\u202e $x_1$ \\frac 🍷 #1f2430", "…" + 299 * "y")


class Page(HTMLParser):
    """What a page holds, as a browser reads it."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.loaded, self.text, self.ids = [], [], "", []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loaded += [value for key, value in attrs if key in ("src", "href", "xlink:href", "data", "action")]
        self.ids += [value for key, value in attrs if key == "id"]

    def handle_data(self, data):
        self.text += data


def written(folder, content):
    report.write(folder, content)
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module", params=FIGURES)
def problem(request):
    return request.param


@pytest.fixture(scope="module")
def folder(problem, content_of, tmp_path_factory):
    """The report of a problem, written once for all tests that only read it."""
    folder = tmp_path_factory.mktemp(problem)
    report.write(folder, content_of(problem))
    return folder


@pytest.fixture(scope="module")
def html(folder):
    return (folder / "report.html").read_text(encoding="utf-8")


def test_every_problem_has_its_plots_on_the_page_and_as_files(problem, folder, html):
    files = {path.stem for path in (folder / "figures").glob("*.png")}
    assert files == FIGURES[problem] | {"learning_curves"}
    assert Page(html).tags.count("figure") == len(files)
    for path in (folder / "figures").glob("*.png"):
        assert matplotlib.image.imread(path)[0, 0].tolist() == [1, 1, 1, 1]


def test_page_tells_each_check_of_the_gate(content_of, tmp_path):
    content = content_of("binary")
    checks = (
        Check(name="gain", passed=True, value=0.0123, wanted=0.0, sentence="a gain of 0.0123, wanted above 0"),
        Check(name="guard recall", passed=False, value=0.05, wanted=0.02, sentence="guard recall: " + "x" * 300),
        Check(name="drift", passed=False, asks=True, value=0.6, wanted=0.5, sentence="60 % of the features"),
    )
    verdict = content.verdict.model_copy(update={"checks": checks})
    page = written(tmp_path, dataclasses.replace(content, verdict=verdict, tuned=None))
    assert "1 of 3 checks passed." in page
    for cell in ("✓ passed", "✗ not passed", "? a person decides", "A gain of 0.0123, wanted above 0", "0.0123"):
        assert f">{cell}</td>" in page
    assert "Guard recall: " + "x" * 300 in page


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ({"version": "3", "trial": 7, "study": "ab" * 32}, "trial 7 found for version 3, 2 versions before this one"),
        ({}, "the tuning found for an earlier version, 2 versions before this one"),  # of an older release
    ],
)
def test_page_tells_whose_settings_are_used_again(content_of, tmp_path, known, said):
    settings = {"network.hidden": [64, 32], "training.batch_size": 128}
    tuned = Tuned(question="q", subject="s", settings=settings, age=2, **known)
    page = written(tmp_path, dataclasses.replace(content_of("regression"), tuned=tuned))
    assert said in page
    assert ">64, 32</td>" in page


def test_every_plot_has_its_data_as_csv(problem, folder):
    figures = {path.stem: pd.read_csv(path) for path in (folder / "figures").glob("*.csv")}
    assert figures.keys() == FIGURES[problem] | {"learning_curves"}
    assert all(len(rows) for rows in figures.values())
    assert figures["learning_curves"].columns.tolist() == ["epoch", "loss", "validation_loss"]


def test_same_content_gives_the_same_bytes(problem, folder, content_of, tmp_path):
    report.write(tmp_path, content_of(problem))
    again = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*.*")}
    assert again == {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}


def test_page_loads_nothing_and_runs_nothing(html):
    page = Page(html)
    assert all(address.startswith(("#", "data:")) for address in page.loaded)
    assert "script" not in page.tags
    assert not re.search(r"https?:|@import|url\((?!#)", html)


def test_references_inside_the_page_lead_to_one_place(html):
    page = Page(html)
    wanted = {address[1:] for address in page.loaded if address.startswith("#")} | set(
        re.findall(r"url\(#(\w+)\)", html)
    )
    assert wanted <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))


@pytest.mark.parametrize("kind", ["multioutput_regression", "multiclass", "multilabel"])
def test_odd_names_stay_text(kind, content_of, tmp_path):
    names = (ODD * 4)[: 10 if kind == "multiclass" else 3]
    names = tuple(f"{name}{at}" for at, name in enumerate(names))
    html = written(tmp_path, content_of(kind, names=names))
    assert "script" not in Page(html).tags
    assert '<script>alert("1")</script>' in Page(html).text
    assert "\x00" not in html
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == FIGURES[kind] | {"learning_curves"}


def test_only_the_first_columns_are_listed(content_of, tmp_path):
    content = content_of("regression")
    columns = {f"column {at}": ColumnProfile(kind="numeric", missing=0) for at in range(250)}
    profile = content.profile.model_copy(update={"columns": columns})
    page = Page(written(tmp_path, dataclasses.replace(content, profile=profile)))
    assert "column 199" in page.text
    assert "column 200" not in page.text
    assert "50 more columns are left out" in page.text


def test_outputs_have_a_table_of_their_own(problem, html):
    assert ("Each output, on the test rows" in html) == (problem == "multioutput_regression")
    assert "error[" not in html


def test_champion_stands_beside_the_challenger(html):
    assert "champion on test" in html
    assert "champion (version 3)" in html


BESIDE = {
    "regression": {"residual_histogram"},
    "multioutput_regression": {"residual_histogram"},
    "binary": {"roc", "precision_recall", "calibration"},
    "multiclass": {"roc", "calibration"},
    "multilabel": {"roc", "calibration"},
}


def test_plots_and_tables_show_both_and_the_difference(problem, content_of, tmp_path):
    content = content_of(problem)
    test, other = content.test, np.roll(content.test.predicted, 1, axis=0)
    champion = dataclasses.replace(test, predicted=other)
    html = written(tmp_path, dataclasses.replace(content, champion=champion))
    both = {path.stem: pd.read_csv(path) for path in (tmp_path / "figures").glob("*.csv")}
    both = {name: rows for name, rows in both.items() if "model" in rows}
    assert both.keys() == BESIDE[problem]
    for rows in both.values():
        model, champions = (rows[rows.model == name].drop(columns="model") for name in ("model", "champion"))
        assert model.to_numpy().tolist() != champions.to_numpy().tolist()
    if problem != "binary":
        what, figure, values = first_figure(problem, test, champion)
        assert f"Each {what}, beside the champion" in html
        table = html.partition("beside the champion")[2].partition("</table>")[0]
        assert figure in table
        cells = re.findall(r"<td.*?>(.*?)</td>", table.partition("<tbody>")[2], re.DOTALL)[1:4]
        assert [float(re.sub("<.*?>", "", cell).replace("−", "-").replace(",", "")) for cell in cells] == [
            pytest.approx(value, rel=1e-3, abs=5e-4) for value in (*values, values[0] - values[1])
        ]


def first_figure(problem, test, champion):
    """What the first row and figure of the table beside the champion are about, and the figure of each."""
    both = (test, champion)
    if problem == "multiclass":
        return "class", "F1", [sk.f1_score(each.truth == 0, each.decided == 0) for each in both]
    if problem == "multilabel":
        return "label", "F1", [sk.f1_score(each.truth[:, 0], each.decided[:, 0]) for each in both]
    errors = [np.abs(each.truth[:, 0] - each.predicted[:, 0]).mean() for each in both]
    return "output", "MAE", errors


def test_page_without_champion_and_with_weights_says_so(content_of, tmp_path):
    page = Page(written(tmp_path, content_of("binary", weighted=True, champion=False)))
    assert "Promoted: there is no champion yet." in page.text
    assert "champion on test" not in page.text
    assert "beside the champion" not in page.text
    assert "Rows are weighed by trust" in page.text


def test_test_rows_of_one_class_give_a_report_without_curves(content_of, tmp_path):
    content = content_of("binary")
    positive = content.scored["test"].truth == 1
    test = Scored(
        "binary", content.scored["test"].names, np.ones(positive.sum(), int), content.scored["test"].predicted[positive]
    )
    page = Page(written(tmp_path, dataclasses.replace(content, scored={**content.scored, "test": test})))
    assert "The test rows are all of one class" in page.text
    assert not (tmp_path / "figures" / "roc.png").exists()


def test_many_points_keep_the_page_small(content_of, tmp_path):
    content = content_of("regression", champion=False)
    truth = np.random.default_rng(0).normal(size=(50_000, 1))
    test = Scored("regression", ("y",), truth, truth + np.random.default_rng(1).normal(size=truth.shape))
    html = written(tmp_path, dataclasses.replace(content, scored={**content.scored, "test": test}))
    assert "20,000 of 50,000 rows are drawn" in html
    assert len(html) < 1_000_000


def test_many_classes_are_cut_to_the_most_frequent(content_of, tmp_path):
    content = content_of("multiclass", champion=False)
    truth = np.repeat(np.arange(150), np.arange(150) // 30 + 1)
    names = tuple(f"class {code}" for code in range(150))
    test = Scored("multiclass", names, truth, np.eye(150)[truth])
    page = Page(written(tmp_path, dataclasses.replace(content, scored={**content.scored, "test": test})))
    assert "Of 150 classes these are the 20 with the most test rows" in page.text
    assert "The 100 classes with the most test rows of 150" in page.text
    assert "class 39" in page.text
    assert "class 40" not in page.text


def by_hand(problem, truth, predicted, content_of, folder):
    """The tables of a report whose test rows are these: cells by the first cell of their row."""
    content = content_of(problem, champion=False)
    test = Scored(problem, content.test.names, truth, predicted)
    figures = {**content.metrics, "test": metrics.compute(test)}
    content = dataclasses.replace(content, scored={**content.scored, "test": test}, metrics=figures)
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", written(folder, content), re.DOTALL)
    cells = [
        [re.sub(r"<[^>]*>", "", cell).strip() for cell in re.findall(r"<td.*?</td>", row, re.DOTALL)] for row in rows
    ]
    return {row[0].replace("\u00a0", " "): row[1:] for row in reversed(cells) if row}


def test_formulas_of_the_confusion_matrix_are_as_by_hand(content_of, tmp_path):
    """R20: 4 true positives, 1 false positive, 2 false negatives and 3 true negatives."""
    truth = np.array([1, 1, 1, 1, 0, 1, 1, 0, 0, 0])
    positive = np.array([0.9, 0.8, 0.7, 0.6, 0.95, 0.4, 0.3, 0.2, 0.1, 0.05])
    shown = by_hand("binary", truth, np.column_stack([1 - positive, positive]), content_of, tmp_path)
    expected = {"accuracy ↑": 7 / 10, "precision ↑": 4 / 5, "recall ↑": 4 / 6, "specificity ↑": 3 / 4, "f1 ↑": 8 / 11}
    assert {name: shown[name][2] for name in expected} == {name: f"{value:.4f}" for name, value in expected.items()}
    assert shown["as it is"] == ["0.5000", "0.8000", "0.6667", "0.7500", "0.7273", "1", "2", "300.0"]
    matrix = pd.read_csv(tmp_path / "figures" / "confusion.csv")
    assert matrix.rows.tolist() == [3, 1, 2, 4]
    np.testing.assert_allclose(matrix.rate, [3 / 4, 1 / 4, 2 / 6, 4 / 6])


def test_formulas_of_each_class_are_as_by_hand(content_of, tmp_path):
    """R20: of class 0, six rows are right, two of its rows are taken for 1 and one of class 1 for it."""
    truth, decided = np.repeat([0, 0, 1, 1], [6, 2, 1, 11]), np.repeat([0, 1, 0, 1], [6, 2, 1, 11])
    shown = by_hand("multiclass", truth, np.eye(10)[decided], content_of, tmp_path)
    assert shown["0"][:4] == [f"{value:.4f}" for value in (6 / 7, 6 / 8, 11 / 12, 12 / 15)]


def test_formulas_of_regression_are_as_by_hand(content_of, tmp_path):
    """R20: errors 1, 1, 2, 0; R² = 1 − 6 / 20."""
    truth, predicted = np.array([[1.0], [3], [5], [7]]), np.array([[2.0], [2], [3], [7]])
    shown = by_hand("regression", truth, predicted, content_of, tmp_path)
    expected = {
        "mean_absolute_error ↓": "1.0000", "mean_squared_error ↓": "1.500", "root_mean_squared_error ↓": "1.225",
        "r2 ↑": "0.7000",
    }  # fmt: skip
    assert {name: shown[name][2] for name in expected} == expected


def test_label_that_begins_as_a_formula_is_none_to_a_spreadsheet(content_of, tmp_path):
    written(tmp_path, content_of("binary", names=("=1+1", "yes")))
    assert set(pd.read_csv(tmp_path / "figures" / "scores.csv")["class"]) == {"'=1+1", "yes"}
