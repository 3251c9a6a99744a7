"""The picture of serving_load_bench.py: percentiles of the waits for the first and for the next token over the rate of
requests, as one SVG file for light and dark pages."""
import math

WIDTH, HEIGHT, LEFT, TOP, PANEL, DEEP = 760, 300, 60, 56, 300, 190
STYLE = ("text{font:11px system-ui,sans-serif;fill:#667}.t{font-weight:600;font-size:13px;fill:#1a1d21}"
         ".m{text-anchor:middle}.e{text-anchor:end}.bg{fill:#fff}.g{stroke:#e4e6ea}.l{fill:none;stroke-width:2}"
         ".l0{stroke:#2f6fdb}.l1{stroke:#c98a1b}.l2{stroke:#c33f3f}@media(prefers-color-scheme:dark){"
         "text{fill:#9aa3ad}.t{fill:#e8eaed}.bg{fill:#14161a}.g{stroke:#2b3038}}")


def panel(left, title, rows, key, percentiles):
    """One chart: a line for each percentile, milliseconds on a logarithmic scale from 1-2-5 to 1-2-5."""
    steps = [m * 10 ** e for e in range(-2, 6) for m in (1, 2, 5)]
    shown = [[max(ms, steps[0]) for ms in row[key]] for row in rows]  # tokens that came together did not wait
    low = max(step for step in steps if step <= min(map(min, shown)))
    high = min(step for step in steps if step > max(map(max, shown)))
    fastest = rows[-1]["rate"]

    def x(rate):
        return left + PANEL * rate / fastest

    def y(ms):
        return TOP + DEEP * (1 - math.log(ms / low) / math.log(high / low))

    yield f'<text class="t" x="{left}" y="40">{title}</text>'
    for step in steps:
        if low <= step <= high:
            yield f'<path class="g" d="M{left} {y(step):.1f}H{left + PANEL}"/>'
            yield f'<text class="e" x="{left - 6}" y="{y(step) + 4:.1f}">{step:g}</text>'
    for row in rows:
        yield f'<text class="m" x="{x(row["rate"]):.1f}" y="{TOP + DEEP + 16}">{row["rate"]:.3g}</text>'
    yield f'<text class="m" x="{left + PANEL / 2}" y="{TOP + DEEP + 34}">requests a second</text>'
    for number, percent in enumerate(percentiles):
        points = " ".join(f"{x(row['rate']):.1f},{y(ms[number]):.1f}" for row, ms in zip(rows, shown))
        yield f'<polyline class="l l{number}" points="{points}"/>'
        yield f'<path class="l l{number}" d="M{left + 150 + 50 * number} 36h14"/>'
        yield f'<text x="{left + 168 + 50 * number}" y="40">p{percent}</text>'


def plot(rows, percentiles):
    """The file's text; rows by rising rate: rate, first and next (milliseconds, one for each percentile)."""
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
             'aria-label="waits for tokens over the rate of requests">', f"<style>{STYLE}</style>",
             f'<rect class="bg" width="{WIDTH}" height="{HEIGHT}"/>',
             *panel(LEFT, "first token, ms", rows, "first", percentiles),
             *panel(LEFT + PANEL + 70, "next token, ms", rows, "next", percentiles), "</svg>"]
    return "\n".join(parts) + "\n"
