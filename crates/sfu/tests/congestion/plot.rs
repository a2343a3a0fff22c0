//! Pictures of what a flow did over time, as SVG: rate, estimate and the link above, below them how long packets waited and, where there are layers, the
//! step that flowed. Written by hand: a few polylines need no library. Colours follow the reader's light or dark page.

use std::fmt::Write;

use super::flow::World;

/// The size of everything, in the SVG's units.
const WIDTH: f64 = 860.0;
const LEFT: f64 = 92.0;
const RIGHT: f64 = 846.0;
/// Heights of the panels, and what is between them: the lower one's title.
const RATE: f64 = 200.0;
const DELAY: f64 = 110.0;
const STEP: f64 = 110.0;
const GAP: f64 = 46.0;
const TOP: f64 = 84.0;
/// What waits longer than this is drawn at the upper edge, in ms.
const MOST_DELAY: f64 = 500.0;
/// A point each so many tenths of a second.
const POINT: usize = 2;

const STYLE: &str = "<style>\
text{font:12px system-ui,-apple-system,'Segoe UI',sans-serif;fill:#57606a}\
.h{font-size:16px;font-weight:600;fill:#1f2328}.p{font-weight:600;fill:#1f2328}.e{text-anchor:end}.m{text-anchor:middle}\
.g{stroke:#d0d7de;stroke-width:1}.z{stroke:#8c959f}.l{fill:#d0d7de;opacity:.45}.aim{stroke:#cf222e;stroke-dasharray:4 4;opacity:.7}\
path{fill:none;stroke-width:1.6;stroke-linejoin:round}\
.c0{stroke:#0969da}.c1{stroke:#bc4c00}.c2{stroke:#1a7f37}.c3{stroke:#8250df}.thin{stroke-width:1.2;opacity:.75;stroke-dasharray:5 3}\
@media(prefers-color-scheme:dark){text{fill:#9198a1}.h,.p{fill:#f0f6fc}.g{stroke:#30363d}.z{stroke:#656c76}.l{fill:#3d444d;opacity:.6}.aim{stroke:#f85149}\
.c0{stroke:#58a6ff}.c1{stroke:#f0883e}.c2{stroke:#3fb950}.c3{stroke:#a371f7}}\
</style>";

/// One line of a panel: its class, its name for the legend, and a value each 100 ms.
struct Line<'a> {
    class: &'a str,
    name: String,
    values: Vec<f64>,
}

/// A row of lines over a common axis.
struct Panel<'a> {
    title: &'a str,
    height: f64,
    most: f64,
    /// Where the axis has a line, and what stands there.
    marks: Vec<(f64, String)>,
    /// What the link takes, as a surface behind the lines.
    behind: Option<Vec<f64>>,
    /// The line that is not to be crossed.
    aim: Option<f64>,
    /// Whether values hold until the next.
    is_stepped: bool,
    lines: Vec<Line<'a>>,
}

/// Draws one flow: what was delivered, what was thought possible, how long packets waited and which step flowed.
pub fn one(title: &str, world: &World) -> String {
    let record = world.record(0);
    let most = most_rate(world);
    let rates = Panel {
        behind: Some(world.capacity.iter().map(|rate| (rate / 1e6).min(most)).collect()),
        lines: vec![
            line("c0 thin", "estimate", megabits(&record.estimates)),
            line("c0", "delivered, over a second", smooth(&megabits(&record.delivered))),
        ],
        ..rate_panel("Rate (Mbit/s); grey: what the link takes", most)
    };
    draw(title, world, vec![rates, delay_panel(world), step_panel(vec![line("c2", "", steps(world, 0))])])
}

/// Draws flows that share the link.
pub fn several(title: &str, world: &World, flows: usize) -> String {
    let classes = ["c0", "c1", "c2"];
    let named = |flow: usize, values| line(classes[flow % 3], &format!("flow {}", flow + 1), values);
    let rates = Panel {
        behind: Some(world.capacity.iter().map(|rate| rate / 1e6 / flows as f64).collect()),
        lines: (0..flows).map(|flow| named(flow, smooth(&smooth(&megabits(&world.record(flow).delivered))))).collect(),
        ..rate_panel("Rate (Mbit/s), delivered, over two seconds; grey: an equal share", 3.0)
    };
    draw(title, world, vec![rates, delay_panel(world)])
}

fn line<'a>(class: &'a str, name: &str, values: Vec<f64>) -> Line<'a> {
    Line { class, name: name.to_owned(), values }
}

fn megabits(rates: &[f64]) -> Vec<f64> {
    rates.iter().map(|rate| rate / 1e6).collect()
}

/// Over a second.
fn smooth(values: &[f64]) -> Vec<f64> {
    (0..values.len()).map(|at| super::summary::mean(&values[at.saturating_sub(9)..=at])).collect()
}

fn steps(world: &World, flow: usize) -> Vec<f64> {
    world.record(flow).steps.iter().map(|step| *step as f64).collect()
}

/// The axis ends above everything that is drawn, at half a megabit.
fn most_rate(world: &World) -> f64 {
    let highest = world.record(0).estimates.iter().copied().fold(0.0, f64::max) / 1e6;
    (highest * 2.0).ceil() / 2.0
}

fn rate_panel(title: &str, most: f64) -> Panel<'_> {
    let marks = (0..).map(|mark| f64::from(mark) * 0.5).take_while(|mark| *mark <= most);
    Panel {
        title,
        height: RATE,
        most,
        marks: marks.map(|mark| (mark, format!("{mark:.1}"))).collect(),
        behind: None,
        aim: None,
        is_stepped: false,
        lines: Vec::new(),
    }
}

fn delay_panel(world: &World) -> Panel<'static> {
    // The worst of each tenth of a second; while nothing leaves the queue it has no length in time.
    let worst = |tenth: &[Option<f64>]| tenth.iter().flatten().copied().fold(0.0, f64::max).min(MOST_DELAY);
    let marks = [0.0, 100.0, 300.0, MOST_DELAY].map(|mark| (mark, format!("{mark:.0}")));
    Panel {
        title: "Queue before the link (ms); dashed: the aim of at most a second above 300",
        height: DELAY,
        most: MOST_DELAY,
        marks: marks.to_vec(),
        behind: None,
        aim: Some(300.0),
        is_stepped: false,
        lines: vec![line("c3", "", world.queue.chunks(10).map(worst).collect())],
    }
}

fn step_panel(lines: Vec<Line<'_>>) -> Panel<'_> {
    let names = ["small 7.5", "small 15", "small 30", "medium 15", "medium 30", "large 15", "large 30"];
    Panel {
        title: "Layer, and its pictures a second",
        height: STEP,
        most: 7.0,
        marks: (1..).map(f64::from).zip(names.map(str::to_owned)).collect(),
        behind: None,
        aim: None,
        is_stepped: true,
        lines,
    }
}

fn draw(title: &str, world: &World, panels: Vec<Panel<'_>>) -> String {
    let height = TOP + panels.iter().map(|panel| panel.height + GAP).sum::<f64>() - 4.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\">{STYLE}\
         <text class=\"h\" x=\"14\" y=\"26\">{title}</text>\n"
    );
    let (mut y, mut x) = (TOP, LEFT);
    for Line { class, name, .. } in panels.iter().flat_map(|panel| &panel.lines).filter(|line| !line.name.is_empty()) {
        let _ =
            write!(svg, "<path class=\"{class}\" d=\"M{x} 46h22\"/><text x=\"{}\" y=\"50\">{name}</text>", x + 28.0);
        x += 52.0 + name.len() as f64 * 6.4;
    }
    let seconds = world.capacity.len() / 10;
    for panel in &panels {
        panel.draw(&mut svg, y, seconds);
        y += panel.height + GAP;
    }
    let bottom = y - GAP + 16.0;
    for second in (0..=seconds).step_by(10) {
        let (class, unit) = if second + 10 > seconds { ("e", " s") } else { ("m", "") };
        let x = across(second * 10, seconds);
        let _ = write!(svg, "<text class=\"{class}\" x=\"{x:.0}\" y=\"{bottom}\">{second}{unit}</text>");
    }
    svg.push_str("</svg>\n");
    svg
}

/// Where a tenth of a second stands.
fn across(tenth: usize, seconds: usize) -> f64 {
    LEFT + (RIGHT - LEFT) * tenth as f64 / (seconds * 10) as f64
}

impl Panel<'_> {
    fn draw(&self, svg: &mut String, top: f64, seconds: usize) {
        let bottom = top + self.height;
        let up = |value: f64| bottom - self.height * (value.min(self.most) / self.most);
        let _ = write!(svg, "<text class=\"p\" x=\"{LEFT}\" y=\"{}\">{}</text>", top - 10.0, self.title);
        if let Some(behind) = &self.behind {
            let _ = write!(svg, "<polygon class=\"l\" points=\"{LEFT},{bottom}");
            for (at, value) in corners(behind) {
                let _ = write!(svg, " {:.1},{:.1}", across(at, seconds), up(value));
            }
            let _ = write!(svg, " {RIGHT},{bottom}\"/>");
        }
        for (value, name) in &self.marks {
            let (class, y) = (if *value == 0.0 { "g z" } else { "g" }, up(*value));
            let class = if self.aim == Some(*value) { "aim" } else { class };
            let _ = write!(svg, "<line class=\"{class}\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>");
            let _ = write!(svg, "<text class=\"e\" x=\"{}\" y=\"{:.1}\">{name}</text>", LEFT - 8.0, y + 4.0);
        }
        svg.push('\n');
        for Line { class, values, .. } in &self.lines {
            let _ = write!(svg, "<path class=\"{class}\" d=\"");
            let mut before = None;
            let points: Vec<(usize, f64)> = if self.is_stepped {
                corners(values)
            } else {
                // The worst of each few: none of what stands out is lost.
                values
                    .chunks(POINT)
                    .enumerate()
                    .map(|(at, few)| (at * POINT, few.iter().copied().fold(0.0, f64::max)))
                    .collect()
            };
            for (at, value) in points {
                let letter = if before.replace(at).is_none() { 'M' } else { 'L' };
                let _ = write!(svg, "{letter}{:.1} {:.1}", across(at, seconds), up(value));
            }
            svg.push_str("\"/>\n");
        }
    }
}

/// Only where a value changes: where it was and where it is.
fn corners(values: &[f64]) -> Vec<(usize, f64)> {
    let mut corners = Vec::new();
    let mut last = None;
    for (at, value) in values.iter().copied().enumerate() {
        if last != Some(value) {
            corners.extend(last.map(|last| (at, last)));
            corners.push((at, value));
            last = Some(value);
        }
    }
    corners.extend(last.map(|last| (values.len(), last)));
    corners
}
