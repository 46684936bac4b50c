"""The record of whose submission lies at the top."""

from pathlib import Path

from imagepipe.config.published import describe_earlier, write_record

MADE_OF = {"dataset": "cifar10", "run": "fast", "seeds": [0, 1]}


def test_a_submission_is_known_until_it_is_another_file(tmp_path: Path) -> None:
    record, submission = tmp_path / "submission.json", tmp_path / "submission.csv"
    submission.write_text("id,label\n1,cat\n")
    assert describe_earlier(record, submission) == f"{submission} is from before this call"
    write_record(record, submission, MADE_OF)
    known = f"{submission} is still from an earlier call: dataset cifar10, run fast"
    assert describe_earlier(record, submission) == known
    submission.write_text("id,label\n1,dog\n")
    assert describe_earlier(record, submission) == f"{submission} is from before this call"


def test_a_damaged_record_tells_nothing(tmp_path: Path) -> None:
    submission = tmp_path / "submission.csv"
    submission.touch()
    for text in ("", "[]", "{}"):
        (tmp_path / "submission.json").write_text(text)
        line = describe_earlier(tmp_path / "submission.json", submission)
        assert line == f"{submission} is from before this call"
