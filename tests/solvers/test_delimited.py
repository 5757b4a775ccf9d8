import numpy as np
import pytest
import torch

from kansci.errors import ConfigError, DataError
from kansci.solvers import delimited
from kansci.solvers.delimited import Delimited


def table(path, text, separator=None, header=None, comment: str | None = "#"):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return Delimited.open(path, separator, header, comment)


def rows(found, columns=None, memory=1e9):
    (values,) = found.read([range(len(found.keys)) if columns is None else columns], memory, progress=False)
    return values.tolist()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data.csv"


@pytest.mark.parametrize(
    "text",
    [
        "a,b\n1,2.5\n-3e2,4\n",
        "a,b\n1,2.5\n-3e2,4",
        "a,b\r\n1,2.5\r\n-3e2,4\r\n",
        "\ufeffa,b\n1,2.5\n-3e2,4\n",
        "a;b\n1;2.5\n-3e2;4\n",
        "a\tb\n1\t2.5\n-3e2\t4\n",
        "a|b\n1|2.5\n-3e2|4\n",
        "a b\n1   2.5\n -3e2\t4 \n",
        "a , b\n 1 , 2.5 \n-3e2,  4\n",
        '"a","b"\n"1","2.5"\n"-3e2","4"\n',
        "# made by hand\n\na,b\n1,2.5\n# and more\n\n-3e2,4\n\n",
        "# made by hand\n# a,b\n1,2.5\n-3e2,4\n",
        "#a b\n1 2.5\n-3E+02 +4.\n",
    ],
)
@pytest.mark.parametrize("part", [1, 2**24])
def test_columns_are_read(path, text, part, monkeypatch):
    monkeypatch.setattr(delimited, "PART", part)
    found = table(path, text)
    assert list(found.keys) == ["a", "b"]
    assert rows(found) == [[1.0, 2.5], [-300.0, 4.0]]


@pytest.mark.parametrize("text", ["1,2.5\n-3e2,4\n", "# 1 2\n1 2.5\n-3e2 4", "# three small words\n1;2.5\n-3e2;4"])
def test_without_names(path, text):
    found = table(path, text)
    assert list(found.keys) == ["", ""]
    assert rows(found) == [[1.0, 2.5], [-300.0, 4.0]]


def test_files_of_numpy(path):
    values = np.random.default_rng(0).normal(size=(7, 3))
    np.savetxt(path, values, header="x y z")
    found = Delimited.open(path, None, None, "#")
    assert list(found.keys) == ["x", "y", "z"]
    assert rows(found) == values.tolist()


def test_only_what_is_asked_for_need_be_numbers(path):
    found = table(path, 'mode,"stretch, nominal",note\nuniaxial,1.5,"a, b"\nshear,2.5,#3\n')
    assert list(found.keys) == ["mode", "stretch, nominal", "note"]
    assert rows(found, [1]) == [[1.5], [2.5]]


def test_choices_share_a_table(path):
    text = "\n".join(f"{i},{i + 1},{i + 2}" for i in range(50))
    first, second = table(path, text).read([[2, 0], [1]], 0.0, progress=False)
    assert first.tolist() == [[i + 2, i] for i in range(50)]
    assert second.tolist() == [[i + 1] for i in range(50)]
    assert first.untyped_storage().data_ptr() == second.untyped_storage().data_ptr()


def test_one_column(path):
    assert rows(table(path, "nominal stress\n1\n2\n")) == [[1], [2]]


def test_many_columns(path):
    count = 20_000
    text = ",".join(f"x{i}" for i in range(count)) + "\n" + ",".join(map(str, range(count))) + "\n"
    found = table(path, text)
    assert len(found.keys) == count
    assert rows(found, [0, count - 1]) == [[0, count - 1]]


def test_every_digit_is_kept(path):
    values = torch.rand(100, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) ** 20
    found = table(path, "\n".join(" ".join(map(repr, row)) for row in values.tolist()))
    assert rows(found) == values.tolist()


def test_what_is_said_is_not_guessed(path):
    assert list(table(path, "1 2,3 4\n5 6,7 8\n", ",", header=False).keys) == ["", ""]
    assert list(table(path, "1 2,3\n5 6,8\n", " ").keys) == ["", ""]
    named = table(path, "2001,2002\n1,2\n", header=True)
    assert list(named.keys) == ["2001", "2002"]
    assert rows(named) == [[1, 2]]
    assert rows(table(path, "% a\n1,2\n", comment="%")) == [[1, 2]]
    assert rows(table(path, "#1,b\n#3,4\n", comment=None), [1]) == [[4]]


@pytest.mark.parametrize("separator", ["", "::", "  "])
def test_separators_are_one_character(path, separator):
    with pytest.raises(ConfigError, match="delimiter to be one character"):
        table(path, "1::2\n", separator)


def test_names_in_other_encodings_are_read(path):
    found = table(path, "T [°C],p\n1,2\n".encode("latin-1"))
    assert found.keys[1] == "p"
    assert rows(found) == [[1, 2]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected rows of numbers, got none"),
        ("\n# nothing\n\n", "expected rows of numbers, got none"),
        ("a,b\n1,2\n3\n", "line 3: expected 2 columns as in the first row, got 1"),
        ("a,b\n1,2\n3,4,5\n", "line 3: expected 2 columns as in the first row, got 3"),
        ("# c\na,b\n\n1,2\n3,4,5\n", "line 5: expected 2 columns"),
        ("1 2\n3 4\n5\n", "line 3: expected 2 columns"),
        ("a,b\n1,2\n3,x\n", "line 3, column b: expected a number, got 'x'; mend the line"),
        ("a,b\n1,2\n3,\n", "line 3, column b: expected a number, got ''"),
        ("1;2\n3,5;4\n", "line 2, column 0: expected a number, got '3,5'"),
        ("a,b\n1,1_000\n", "line 2, column b: expected a number, got '1_000'"),
        ("a,2001\n1,2\n", "line 1, column 0: expected a number, got 'a'.* header=True"),
        (b"1,2\n\x00\x01", "expected text in UTF-8, or an HDF5 file, got zero bytes"),
        ("a" * 200_000, "separate cells"),
    ],
)
@pytest.mark.parametrize("part", [1, 2**24])
def test_what_is_wrong_is_named(path, text, message, part, monkeypatch):
    monkeypatch.setattr(delimited, "PART", part)
    with pytest.raises(DataError, match=message):
        rows(table(path, text))


def test_long_files_show_how_far_they_are(path, capsys, monkeypatch):
    monkeypatch.setattr(delimited, "PATIENCE", 0.0)
    found = table(path, "1,2\n" * 1000)
    found.read([[0]], 1e9, progress=False)
    assert not capsys.readouterr().err
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    found.read([[0]], 1e9, progress=True)
    assert "data.csv" in capsys.readouterr().err
