import logging

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vesalius.config.errors import InputError
from vesalius.data.samples import check_samples
from vesalius.data.sources.tables.csv_table import read_table
from vesalius.data.sources.tables.labels import Labels


@pytest.fixture
def write(tmp_path):
    def make(content, name="labels.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return make


def problems_of(call, *args, **options):
    with pytest.raises(InputError) as caught:
        call(*args, **options)
    return "\n".join(caught.value.problems)


def labels_of(path, **options):
    return Labels(path, **{"key": "id", "target": "y", **options})


# reading


ROWS = [["1", "ä b", "x"], ["2", "", "y, z"]]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_every_dialect_reads_the_same(write, separator, encoding, ending):
    frame = pd.DataFrame(ROWS, columns=["id", "wörd", "y"])
    path = write(frame.to_csv(index=False, sep=separator, lineterminator=ending).encode(encoding))
    table = read_table(path, option="o")
    assert table.to_numpy().tolist() == ROWS
    assert table.columns.tolist() == ["id", "wörd", "y"]
    assert table.index.tolist() == [2, 3]


def test_lines_are_those_of_the_file_and_empty_ones_are_passed_over(write):
    table = read_table(write("sep=;\nid;y,z;\n\n a ;b\n;;\nc\n"), option="o")
    assert table.to_dict("index") == {4: {"id": "a", "y,z": "b"}, 6: {"id": "c", "y,z": ""}}
    table = read_table(write('id,y\na,"b\nc"\n\n,\nd\n'), option="o")
    assert table.index.tolist() == [3, 6]
    assert table.to_numpy().tolist() == [["a", "b\nc"], ["d", ""]]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK\x03\x04....", "Excel or OpenDocument file: save it as CSV"),
        (b"\xd0\xcf\x11\xe0....", "Excel file: save it as CSV"),
        (b"\x1f\x8b....", "compressed"),
        (b"", "is empty"),
        (b"\n ,\n", "is empty"),
        (b"id,y\n", "a header but no row"),
        (b"id,y,id\n1,2,3\n", "column(s) id more than once"),
        (b"id,y\n1,2,3\n4,5\n", "1 line(s) of t.csv have more cells than the header: 2"),
        (b'id,y\n1,"2\n', "malformed"),
        (b"id,y\n\x00\x01,2\n", "is no text"),
        (b"id,y\n\x81,2\n", "unknown encoding"),
    ],
)
def test_what_is_no_table_is_refused_with_the_cure(write, content, words):
    assert words in problems_of(read_table, write(content, "t.csv"), option="o")


def test_a_table_that_is_not_there_is_named(tmp_path):
    assert "correct `data.source.labels`" in problems_of(labels_of, tmp_path / "none.csv")


@given(
    st.lists(
        st.lists(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1), min_size=3, max_size=3),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from(",;\t"),
)
def test_whatever_is_written_is_read(tmp_path_factory, rows, separator):
    path = tmp_path_factory.mktemp("t") / "t.csv"
    pd.DataFrame(rows, columns=["a", "b", "c"]).to_csv(path, index=False, sep=separator)
    assert read_table(path, option="o").to_numpy().tolist() == rows


@given(st.one_of(st.binary(), st.text("ab,;\t\"'\n\r=sep").map(str.encode)))
def test_no_file_whatever_it_holds_ends_in_anything_but_an_input_error(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("t") / "t.csv"
    path.write_bytes(content)
    try:
        table = read_table(path, option="o")
    except InputError:
        return
    assert len(table)
    assert all(isinstance(cell, str) for cell in table.to_numpy().ravel())


def test_a_field_without_end_is_refused(write):
    assert "malformed" in problems_of(read_table, write("x" * 200_000 + "\n1\n"), option="o")


# targets


def test_classes_are_sorted_and_two_are_binary(write, caplog):
    caplog.set_level(logging.INFO, "vesalius")
    labels = labels_of(write("id,y\na,malign\nb, benign \nc,malign\n"))
    assert (labels.task, labels.classes) == ("binary", ("benign", "malign"))
    assert "`malign` is the positive class" in caplog.text
    assert labels.join(["a", "b", "c"])["target"].tolist() == [1, 0, 1]
    turned = labels_of(write("id,y\na,malign\nb,benign\n"), classes=["malign", "benign"])
    assert turned.join(["a", "b"])["target"].tolist() == [0, 1]


def test_numbers_are_sorted_by_value(write):
    labels = labels_of(write("id,y\na,10\nb,9.0\nc,-2\n"), task="ordinal")
    assert (labels.task, labels.classes) == ("ordinal", ("-2", "9", "10"))
    assert labels.join(["a", "b", "c"])["target"].tolist() == [2, 1, 0]


def test_words_need_their_order_to_be_grades(write):
    path = write("id,y\na,mild\nb,none\nc,severe\n")
    assert "classes=[lowest" in problems_of(labels_of, path, task="ordinal")
    labels = labels_of(path, task="ordinal", classes=["none", "mild", "severe"])
    assert labels.join(["a", "b", "c"])["target"].tolist() == [1, 0, 2]


def test_continuous_targets_are_never_taken_for_classes(write):
    path = write("id,age,dose\na,61.5,1e-3\nb,40,0\n")
    assert "task=regression" in problems_of(labels_of, path, target="age")
    labels = labels_of(path, target=["age", "dose"], task="regression")
    assert (labels.task, labels.classes) == ("regression", ("age", "dose"))
    assert labels.join(["b", "a"]).to_dict("list") == {"target/age": [40.0, 61.5], "target/dose": [0.0, 1e-3]}
    path = write("id,y\na,61.5\nb,old\nc,inf\n")
    assert "inf, old (lines 3, 4)" in problems_of(labels_of, path, task="regression")
    assert "decimal point" in problems_of(labels_of, write("id;y\na;1,5\nb;2\n"), task="regression")


def test_an_id_is_no_class(write):
    path = write("id,y\n" + "".join(f"{n},case {n}\n" for n in range(60)))
    assert "60 different names in 60 rows" in problems_of(labels_of, path)


def test_several_columns_are_a_multilabel(write):
    labels = labels_of(write("id,a,b\nx,1,no\ny,0.0,TRUE\n"), target=["a", "b"])
    assert (labels.task, labels.classes) == ("multilabel", ("a", "b"))
    assert labels.join(["y", "x"]).to_dict("list") == {"target/a": [0, 1], "target/b": [1, 0]}
    found = problems_of(labels_of, write("id,a,b\nx,-1,0\ny,0,perhaps\n"), target=["a", "b"])
    assert "`a` must be 0 or 1 but holds -1 (lines 2)" in found
    assert "`b` must be 0 or 1 but holds perhaps (lines 3)" in found


def test_names_in_a_cell_are_a_multilabel(write):
    path = write("id,y\na,Mass| Edema\nb,none\nc,Edema\n")
    labels = labels_of(path, separator="|")
    assert (labels.task, labels.classes) == ("multilabel", ("Edema", "Mass"))
    joined = labels.join(["a", "b", "c"])
    assert joined.to_dict("list") == {"target/Edema": [1, 0, 1], "target/Mass": [1, 0, 0]}
    found = problems_of(labels_of, path, separator="|", classes=["Mass", "Oedema"])
    assert "Edema (line 2)" in found
    assert "Did you mean 'Oedema'?" in found
    assert "leave it out" in problems_of(labels_of, path, separator="|", task="binary")


@pytest.mark.parametrize(
    ("cells", "options", "words"),
    [
        ("one one", {}, "is `one` throughout"),
        ("Benign benign malign", {}, "in several ways (Benign and benign)"),
        ("a b c", {"task": "binary"}, "there are 3 classes"),
        ("a b", {"task": "multilabel"}, "needs several columns"),
        ("a b c", {"classes": ["a", "b"]}, "lacks 1 name(s) that `y` holds: c (line 4)"),
        ("a b", {"classes": ["a", "b", "a"]}, "a class twice"),
        ("a b", {"classes": ["a"]}, "at least two"),
        ("no yes", {"classes": [False, True]}, "in quotes"),
        ("1 2", {"classes": ["1", "2"], "task": "regression"}, "leave them out"),
        ("a b", {"target": []}, "names no column"),
        ("a b", {"target": ["y", "y"]}, "names a column twice"),
        ("a b", {"target": "Y"}, "no column `Y`, only `id`, `y`: correct `data.source.target`"),
        ("a b", {"subgroups": ["sex"], "group": "patient"}, "`data.source.group`, `data.source.subgroups[0]`"),
        ("a b", {"subgroups": ["target"]}, "which Vesalius uses itself"),
    ],
)
def test_what_cannot_be_meant_is_refused(write, cells, options, words):
    path = write("id,y\n" + "".join(f"{n},{cell}\n" for n, cell in enumerate(cells.split())))
    assert words in problems_of(labels_of, path, **options)


def test_given_classes_may_be_numbers_and_need_not_all_occur(write):
    labels = labels_of(write("id,y\na,0\nb,2\n"), classes=[0, 1, 2])
    assert labels.classes == ("0", "1", "2")
    assert labels.join(["a", "b"])["target"].tolist() == [0, 2]


# joining


FULL = "id,y,patient,part,site\nk1,a,p1,training,north\nk2,b,p2,Dev,\nk3,a,p2,,south\n"


def test_a_join_gives_each_key_its_row(write):
    labels = labels_of(write(FULL), group="patient", split="part", subgroups=["site"])
    joined = labels.join(["k3", "k1", "k2", "k1"])
    assert joined["target"].tolist() == [0, 0, 1, 0]
    assert joined["group_id"].tolist() == ["p2", "p1", "p2", "p1"]
    assert joined["split"].tolist() == [None, "train", "val", "train"]
    assert joined["site"].tolist() == ["south", "north", "", "north"]
    assert labels.rows().index.tolist() == [2, 3, 4]


def test_both_lists_of_what_does_not_match_are_named(write):
    labels = labels_of(write("id,y\n007,a\nB,b\nc,a\n"))
    found = problems_of(labels.join, ["7", "b", "c", "d", "d"])
    assert "has no row for 4 series, by `id`: 7, b, d;" in found
    assert "2 `id` of labels.csv match none of the series: 007, B;" in found
    assert "differ in upper and lower case from those of the data: B and b" in found
    assert "differ in zeros in front, which Excel removes from those of the data: 007 and 7" in found


def test_skipping_leaves_gaps_and_counts_without_names(write, caplog):
    labels = labels_of(write("id,y\nsecret1,a\nsecret2,b\nsecret3,\nsecret4,a\n"))
    joined = labels.join(["secret2", "secret9", "secret3"], unmatched="skip")
    assert joined["target"].isna().tolist() == [False, True, True]
    assert "2 series have no label and are left out; 2 key(s)" in caplog.text
    assert "secret" not in caplog.text
    assert "has no row for 1 series" in problems_of(labels.join, ["elsewhere"], unmatched="skip")


def test_rows_without_a_target_are_listed(write):
    labels = labels_of(write("id,y\na,1\nb,\nc,0\nd,NA\n"))
    assert labels.classes == ("0", "1")
    assert "2 row(s) of labels.csv have no target (lines 3, 5)" in problems_of(labels.join, list("abcd"))
    assert labels_of(write("id,y\na,NA\nb,x\n"), classes=["NA", "x"]).join(["a", "b"])["target"].tolist() == [0, 1]


def test_rows_of_one_key_must_agree(write):
    content = "id,y,g,s\na,1,p,train\na,1,p,train\nb,0,p,train\nb,1,p,train\nc,0,p,val\nc,0,q,test\n"
    found = problems_of(labels_of(write(content), group="g", split="s").join, ["a", "b", "c"])
    assert "on the target of 1 `id`: b;" in found
    assert "on the group_id of 1 `id`: c;" in found
    assert "on the split of 1 `id`: c;" in found
    assert len(found.splitlines()) == 3


def test_empty_keys_groups_and_odd_splits_are_all_named_at_once(write):
    found = problems_of(
        labels_of, write("id,y,g,s\n,1,p,train\nb,0,,2\nc,oops,p,\n"), group="g", split="s", classes=[0, 1]
    )
    for words in ("no `id` (lines 2)", "no `g` (lines 3)", "not 2", "oops (line 4)"):
        assert words in found


def test_paths_may_be_written_by_their_ends(write):
    labels = labels_of(write("id,y\nD:\\scans\\a\\1.nii,0\n2.nii,1\n"))
    assert labels.join(["x/2.nii", "a/1.nii"], endings=True)["target"].tolist() == [1, 0]
    found = problems_of(labels.join, ["x/2.nii", "y/2.nii", "a/1.nii"], endings=True)
    assert "fit several series: 2.nii" in found


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_a_join_is_a_look_up_whatever_the_order_of_the_rows(tmp_path_factory, keys, random):
    values = {key: random.choice("abc") for key in range(6)} | {0: "a", 1: "b"}
    rows = [*values.items(), *random.choices(list(values.items()), k=3)]
    random.shuffle(rows)
    path = tmp_path_factory.mktemp("t") / "labels.csv"
    path.write_text("id,y\n" + "".join(f"k{key},{value}\n" for key, value in rows))
    labels = labels_of(path)
    wanted = [f"k{key}" for key in [*keys, *range(6)]]
    joined = labels.join(wanted)
    assert [labels.classes[target] for target in joined["target"]] == [values[int(key[1:])] for key in wanted]


def test_what_is_joined_passes_the_checks_of_a_sample_table(write):
    path = write("id,y,g\n" + "".join(f"k{n},{n % 2},p{n // 4}\n" for n in range(24)))
    labels = labels_of(path, group="g")
    table = labels.join([f"k{n}" for n in range(24)])
    table = table.assign(sample_id=np.arange(24).astype(str), split=None)
    check_samples(table, labels.task, labels.classes, before_split=True)


def test_a_table_without_a_target_says_the_rest(write):
    path = write("id,patient,part\na,p,train\nb,p,train\nc,q,test\n")
    labels = Labels(path, key="id", target=None, group="patient", split="part")
    assert (labels.task, labels.classes) == ("unlabelled", ())
    joined = labels.join(["c", "a", "b"])
    assert joined.to_dict("list") == {"group_id": ["q", "p", "p"], "split": ["test", "train", "train"]}
    found = problems_of(Labels, path, key="id", target=None, classes=["x", "y"], task="ordinal")
    assert "`data.source.classes`, `data.source.task`" in found


@pytest.mark.parametrize("word", ["nan", "NA", "#N/A", "#VALUE!", "#WERT!", "null"])
def test_words_for_missing_are_no_class_and_no_patient(write, word):
    path = write(f"id,y,p\n1,a,P1\n2,b,P2\n3,{word},P3\n4,a,{word}\n5,b,{word}\n")
    found = problems_of(labels_of, path, group="p")
    assert "2 row(s) of labels.csv have no `p` (lines 5, 6)" in found
    assert labels_of(path).classes == ("a", "b")
    assert len(labels_of(write("id,y,p\n1,a,P1\n2,b,NA\n"), group="p").rows()) == 2


@pytest.mark.parametrize(
    "pair",
    [("7", "7.0"), ("7", "007"), ("pat3", "PAT3"), ("P 12", "P-12"), ("M\u00fcller", "Mu\u0308ller")],
)
def test_a_patient_spelt_two_ways_is_one_and_is_named_by_lines(write, caplog, pair):
    one, other = pair
    labels = labels_of(write(f"id,y,p\n1,a,{one}\n2,b,x\n3,b,{other}\n"), group="p")
    groups = labels.rows()["group_id"].tolist()
    assert groups[0] == groups[2] in pair
    assert groups[1] == "x"
    assert "1 patient(s) are spelt in several ways" in caplog.text
    assert "(lines 2 and 4)" in caplog.text or "(lines 4 and 2)" in caplog.text
    assert f"{other} " not in caplog.text.replace("7.0 or", "").replace("PAT3 are", "")


@pytest.mark.parametrize("pair", [("7", "70"), ("7.0", "7.5"), ("pat3", "pat33"), ("0", "00x")])
def test_patients_that_differ_in_more_stay_two(write, caplog, pair):
    labels = labels_of(write(f"id,y,p\n1,a,{pair[0]}\n2,b,{pair[1]}\n"), group="p")
    assert labels.rows()["group_id"].tolist() == list(pair)
    assert "spelt in several ways" not in caplog.text


@pytest.mark.parametrize(
    ("cells", "odd"),
    [
        (["1.0", "-1.0", "0.0"], "-1"),  # CheXpert: uncertain
        (["0", "1", "-999"], "-999"),
        (["0", "1", "2", "99"], "99"),  # questionnaires: no answer
        (["benign", "malignant", "None"], "None"),
        (["benign", "malignant", "?"], "?"),
    ],
)
def test_values_that_stand_for_none_are_no_class_until_their_meaning_is_given(write, cells, odd):
    path = write("id,y\n" + "".join(f"{number},{cell}\n" for number, cell in enumerate(cells)))
    found = problems_of(labels_of, path)
    assert f"holds {odd} (1 rows)" in found
    assert f"'data.source.replace={{{odd}: null}}'" in found
    real = [plain for cell in cells if (plain := cell.removesuffix(".0")) != odd]
    assert labels_of(path, replace={odd: None}).classes == tuple(sorted(real))
    line = cells.index(odd if odd in cells else f"{odd}.0")
    assert np.isnan(labels_of(path, replace={odd: None}).rows()["target"].iloc[line])
    assert labels_of(path, replace={odd: real[0]}).rows()["target"].iloc[line] == sorted(real).index(real[0])
    assert set(labels_of(path, replace={odd: odd}).classes) == {*real, odd}  # the user means it
    assert labels_of(path, classes=[*real, odd]).classes == (*real, odd)


@pytest.mark.parametrize(
    ("cells", "options"),
    [
        (["-1", "1"], {}),  # the two classes of a support vector machine
        (["-2", "-1", "0", "1"], {"task": "ordinal"}),
        (["none", "mild", "severe"], {}),
        (["-1", "0.5", "2"], {"task": "regression"}),
        (["99", "98", "97"], {}),
    ],
)
def test_values_that_are_meant_are_kept(write, cells, options):
    labels = labels_of(write("id,y\n" + "".join(f"{n},{cell}\n" for n, cell in enumerate(cells))), **options)
    assert labels.rows()["target" if options.get("task") != "regression" else "target/y"].notna().all()


def test_a_missing_number_is_no_continuous_target(write):
    path = write("id,age\n1,61\n2,-999\n3,40\n")
    assert "holds -999 (1 rows)" in problems_of(labels_of, path, target="age", task="regression")
    ages = labels_of(path, target="age", task="regression", replace={-999: None}).rows()["target/age"]
    assert ages.tolist()[::2] == [61.0, 40.0]
    assert np.isnan(ages.iloc[1])


def test_replacements_in_columns_of_yes_and_no_and_between_separators(write):
    path = write("id,a,b\nx,-1,0\ny,0,1\n")
    assert "'data.source.replace={-1: 0}'" in problems_of(labels_of, path, target=["a", "b"])
    assert labels_of(path, target=["a", "b"], replace={"-1": "0"}).rows()["target/a"].tolist() == [0, 0]
    path = write("id,y\nx,mass|Mass\ny,edema|?\nz,none\n")
    labels = labels_of(path, separator="|", replace={"Mass": "mass", "?": None})
    assert labels.classes == ("edema", "mass")
    assert labels.rows().to_numpy().tolist() == [[0, 1], [1, 0], [0, 0]]


def test_replacements_that_replace_nothing_or_are_truth_values_are_refused(write):
    path = write("id,y\n1,Benign\n2,malignant\n")
    found = problems_of(labels_of, path, replace={"benign": "malignant"})
    assert "which no cell of y holds" in found
    assert "Did you mean 'Benign'?" in found
    assert "truth value" in problems_of(labels_of, path, replace={"Benign": True})


def test_spellings_between_separators_are_refused_and_read_as_one_by_replace(write):
    path = write("id,y\nx,mass|edema\ny,Mass\nz,none\n")
    found = problems_of(labels_of, path, separator="|")
    assert "spells classes in several ways (Mass and mass)" in found
    assert "'data.source.replace={Mass: mass}'" in found
    assert labels_of(path, separator="|", replace={"Mass": "mass"}).classes == ("edema", "mass")


def test_numbers_written_with_zeros_in_front_are_no_second_class(write):
    assert "spells classes in several ways (01 and 1)" in problems_of(labels_of, write("id,y\n1,01\n2,1\n3,2\n"))


def test_classes_composed_otherwise_are_one_class_spelt_twice(write):
    found = problems_of(labels_of, write("id,y\n1,H\u00e4matom\n2,Ha\u0308matom\n3,normal\n"))
    assert "spells classes in several ways" in found
