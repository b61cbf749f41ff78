"""Style of the page: light and dark, from a phone's width on."""

from __future__ import annotations

__all__ = ["N_COLOURS", "N_STYLES", "STYLE"]

# colours of Okabe and Ito (2008), which colour-blind readers can tell apart; lighter on dark
_LIGHT = ("#0072b2", "#b34700", "#00805c", "#a3487f", "#7a6000", "#1f78a8", "#5b4bb0", "#6b6b6b")
_DARK = ("#56b4e9", "#f08a4b", "#2ec4a0", "#e39ac6", "#e0c341", "#8fd3ff", "#a99bf5", "#b5b5b5")

N_COLOURS = len(_LIGHT)
# a style is a colour with one of four marks
N_STYLES = 4 * N_COLOURS


def _colours(values: tuple[str, ...]) -> str:
    return "".join(f"--c{number}:{value};" for number, value in enumerate(values))


_SERIES = "".join(f".s{number}{{--c:var(--c{number % N_COLOURS})}}" for number in range(N_STYLES))

STYLE = f"""
:root{{color-scheme:light dark;--back:#fff;--card:#f6f7f9;--text:#1b1d21;--soft:#5a6069;
--rule:#d5d9df;{_colours(_LIGHT)}}}
@media(prefers-color-scheme:dark){{:root{{--back:#15171a;--card:#1e2125;--text:#e8eaed;
--soft:#a5abb4;--rule:#3a3f46;{_colours(_DARK)}}}}}
{_SERIES}
*{{box-sizing:border-box}}
body{{margin:0;background:var(--back);color:var(--text);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}}
main{{max-width:1160px;margin:0 auto;padding:1rem}}
h1{{font-size:1.6rem;line-height:1.2;margin:.5rem 0 1rem;overflow-wrap:anywhere}}
h2{{font-size:1.2rem;margin:2rem 0 .25rem}}
p{{margin:.25rem 0 1rem;max-width:46rem;color:var(--soft)}}
dl{{display:flex;flex-wrap:wrap;gap:.25rem 1.5rem;margin:0}}
dl div{{display:flex;gap:.4rem}}
dt{{color:var(--soft)}}
dd{{margin:0;font-variant-numeric:tabular-nums}}
.figures{{display:grid;gap:1rem;align-items:start;
grid-template-columns:repeat(auto-fill,minmax(min(100%,25rem),1fr))}}
figure{{margin:0;padding:.75rem;background:var(--card);border-radius:.5rem;min-width:0}}
figcaption{{font-weight:600;margin-bottom:.25rem}}
figure>svg{{display:block;width:100%;height:auto}}
svg text{{fill:var(--text);font-size:13px;font-family:inherit}}
svg .tick,svg .label{{fill:var(--soft)}}
.grid{{stroke:var(--rule);stroke-width:1}}
.zero{{stroke:var(--text);stroke-width:1}}
.line{{stroke:var(--c);stroke-width:2;fill:none}}
.interval{{stroke:var(--c);stroke-width:1.6}}
.mark{{fill:var(--c)}}
.bar{{fill:var(--c)}}
.reference{{--c:var(--text)}}
.s-1{{--c:var(--text)}}
.s-1 .line{{stroke-dasharray:5 4}}
.level{{stroke:var(--text);stroke-width:1.6;stroke-dasharray:5 4}}
.band{{fill:var(--text);opacity:.1}}
.legend{{list-style:none;display:flex;flex-wrap:wrap;gap:.1rem 1rem;margin:.25rem 0;padding:0;
font-size:.875rem}}
.legend svg{{width:1.3rem;height:.9rem;margin-right:.35rem;vertical-align:-.1rem}}
summary{{cursor:pointer;font-size:.875rem;color:var(--soft);padding:.35rem 0}}
.scroll{{overflow-x:auto;max-width:100%}}
table{{border-collapse:collapse;font-size:.875rem;font-variant-numeric:tabular-nums}}
@media(max-width:480px){{svg text{{font-size:15px}}}}
th,td{{text-align:left;padding:.25rem .75rem .25rem 0;border-bottom:1px solid var(--rule);
white-space:nowrap;vertical-align:top}}
td:last-child{{white-space:normal;min-width:8rem}}
thead th{{color:var(--soft);font-weight:600}}
tbody th{{font-weight:500}}
"""
