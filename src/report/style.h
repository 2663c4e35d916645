// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The style sheet of a report's page.
#pragma once

namespace corda::report {

// The eight colours can be told apart with the common kinds of colour blindness (after Okabe and
// Ito), on white and on black.
inline constexpr const char* kStyle = R"(
:root {
  color-scheme: light dark;
  --page: #ffffff; --ink: #1c1c1e; --soft: #636366; --rule: #d8d8dc; --stripe: #f5f5f7;
  --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #b8568f; --c4: #3fa7e0; --c5: #c98a00;
  --c6: #6a4fb3; --c7: #4d4d4d;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #131316; --ink: #ececf0; --soft: #a0a0a8; --rule: #3a3a40; --stripe: #1d1d21;
    --c0: #5aaef0; --c1: #ff8a4c; --c2: #3fcf9f; --c3: #e58fc0; --c4: #8bd0ff; --c5: #f0b840;
    --c6: #b09cf5; --c7: #c0c0c6;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 76rem; padding: 1rem; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  overflow-wrap: anywhere;
}
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0.5rem 0 1rem; }
h2 { font-size: 1.2rem; line-height: 1.3; margin: 2.25rem 0 0.5rem; padding-top: 0.5rem; border-top: 1px solid var(--rule); }
h3 { font-size: 1.05rem; margin: 1.5rem 0 0.25rem; }
p { margin: 0.5rem 0; max-width: 46rem; }
.charts { display: grid; gap: 1.25rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 21rem), 1fr)); }
figure { margin: 0.5rem 0 0; break-inside: avoid; }
figcaption { font-weight: 600; }
figcaption + svg { margin-top: 0.25rem; }
figure p { color: var(--soft); font-size: 0.85rem; margin: 0.1rem 0 0; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--ink); font-size: 13px; }
svg .middle { text-anchor: middle; }
svg .end { text-anchor: end; }
svg .small { font-size: 11.5px; fill: var(--soft); }
svg .cross { font-size: 15px; font-weight: 700; }
.grid { stroke: var(--rule); stroke-width: 1; }
.axis, .tick { stroke: var(--soft); stroke-width: 1; }
.mark { stroke: var(--soft); stroke-width: 1; stroke-dasharray: 2 3; }
.level { stroke: var(--soft); stroke-width: 1.3; stroke-dasharray: 7 4; }
.line { fill: none; stroke-width: 1.8; stroke-linejoin: round; stroke-linecap: round; }
.faint { opacity: 0.28; stroke-width: 1; }
.c0 { stroke: var(--c0); } .c1 { stroke: var(--c1); } .c2 { stroke: var(--c2); } .c3 { stroke: var(--c3); }
.c4 { stroke: var(--c4); } .c5 { stroke: var(--c5); } .c6 { stroke: var(--c6); } .c7 { stroke: var(--c7); }
circle { stroke: var(--page) !important; stroke-width: 1; }
circle.c0 { fill: var(--c0); } circle.c1 { fill: var(--c1); } circle.c2 { fill: var(--c2); } circle.c3 { fill: var(--c3); }
circle.c4 { fill: var(--c4); } circle.c5 { fill: var(--c5); } circle.c6 { fill: var(--c6); } circle.c7 { fill: var(--c7); }
.d1 { stroke-dasharray: 6 4; } .d2 { stroke-dasharray: 2 4; } .d3 { stroke-dasharray: 9 3 2 3; }
.legend { display: flex; flex-wrap: wrap; gap: 0.2rem 1.1rem; margin: 0.5rem 0; padding: 0; list-style: none; font-size: 0.9rem; }
.legend li { display: flex; align-items: center; gap: 0.4rem; }
svg.key { width: 1.75rem; flex: none; }
.scroll { overflow-x: auto; margin: 0.5rem 0; }
table { border-collapse: collapse; font-size: 0.88rem; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th, td { padding: 0.3rem 0.7rem; text-align: right; vertical-align: top; border-bottom: 1px solid var(--rule); white-space: nowrap; }
th { border-bottom: 1.5px solid var(--soft); }
.t { text-align: left; white-space: normal; min-width: 7rem; max-width: 30rem; overflow-wrap: anywhere; }
tbody tr:nth-child(even) { background: var(--stripe); }
footer { margin-top: 2.5rem; color: var(--soft); font-size: 0.85rem; }
@media print {
  :root {
    color-scheme: light;
    --page: #ffffff; --ink: #000000; --soft: #555555; --rule: #cccccc; --stripe: #ffffff;
    --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #b8568f; --c4: #3fa7e0; --c5: #c98a00;
    --c6: #6a4fb3; --c7: #4d4d4d;
  }
  body { max-width: none; padding: 0; font-size: 11px; }
  .charts { grid-template-columns: 1fr 1fr; }
  .scroll { overflow: visible; }
  table { font-size: 9px; }
  th, td { padding: 0.2rem 0.4rem; }
  th { white-space: normal; }
  .t { min-width: 0; }
  thead { display: table-header-group; }
  tr { break-inside: avoid; }
  h2, h3, .legend { break-after: avoid; }
}
)";

}  // namespace corda::report
