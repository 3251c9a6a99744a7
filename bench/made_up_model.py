"""A model of bench-t1's shape for rivals that read Hugging Face directories: one step on some text gives it a tokenizer
and weights, in FP32."""
import pathlib
import subprocess

HERE = pathlib.Path(__file__).resolve().parent


def make_model(hadal, folder, text):
    (folder / "text.txt").write_text(text, encoding="utf-8")
    subprocess.run([hadal, "train", HERE.parent / "configs/bench-t1.toml", "--text", folder / "text.txt", "--run",
                    folder / "run", "--steps", "1", "--set", "train.precision=fp32", "--quiet"], check=True,
                   stdout=subprocess.DEVNULL)
    subprocess.run([hadal, "export", "--model", folder / "run", "--to", "hf", "--dtype", "fp32", "--output",
                    folder / "hf", "--quiet"], check=True, stdout=subprocess.DEVNULL)
    return folder / "hf"
