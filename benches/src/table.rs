//! Rows of figures and how they are judged and printed.

use std::path::Path;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;

use crate::machine;
use crate::setup::Setup;

const BEGIN: &str = "<!-- table: begin (written by `make bench`) -->";
const END: &str = "<!-- table: end -->";

/// The table's head.
pub const COLUMNS: &str = "\
| row | ours median [min..max] | limit median [min..max] | ratio median [min..max] | target | |
|---|---|---|---|---|---|";

/// The unit of what is counted, in whole numbers.
pub const COUNT: &str = "";

/// What a row promises. Judged by the median.
#[derive(Clone, Copy)]
pub enum Target {
    /// Ours is at most this many times the limit.
    RatioAtMost(f64),
    /// Ours is at least this many times the limit.
    RatioAtLeast(f64),
    /// Ours itself is at most this.
    AtMost(f64),
    /// Ours itself is at least this.
    AtLeast(f64),
    /// To know, not to hold.
    None,
}

/// One line of the table: a figure of each round, ours and, where there is one, the limit's.
pub struct Row {
    name: String,
    unit: &'static str,
    target: Target,
    ours: Vec<f64>,
    limit: Vec<f64>,
}

impl Row {
    /// An empty row.
    pub fn new(name: impl Into<String>, unit: &'static str, target: Target) -> Row {
        Row { name: name.into(), unit, target, ours: Vec::new(), limit: Vec::new() }
    }

    /// Adds a round.
    pub fn add(&mut self, ours: f64, limit: f64) {
        self.ours.push(ours);
        self.limit.push(limit);
    }

    /// Adds a round of a row without a limit.
    pub fn add_ours(&mut self, ours: f64) {
        self.ours.push(ours);
    }

    /// The figure of ours that the row shows; 0 if nothing was measured.
    pub fn median(&self) -> f64 {
        median(&self.ours).unwrap_or_default()
    }

    fn ratios(&self) -> Vec<f64> {
        self.ours.iter().zip(&self.limit).map(|(ours, limit)| ours / limit).collect()
    }

    /// Whether the target is held; `None` if there is none, or nothing was measured.
    fn held(&self) -> Option<bool> {
        let (ours, ratio) = (median(&self.ours), median(&self.ratios()));
        match self.target {
            Target::RatioAtMost(bound) => Some(ratio? <= bound),
            Target::RatioAtLeast(bound) => Some(ratio? >= bound),
            Target::AtMost(bound) => Some(ours? <= bound),
            Target::AtLeast(bound) => Some(ours? >= bound),
            Target::None => None,
        }
    }

    /// The row as a line of Markdown.
    pub fn line(&self) -> String {
        let target = match self.target {
            Target::RatioAtMost(bound) => format!("<= {bound}x"),
            Target::RatioAtLeast(bound) => format!(">= {bound}x"),
            Target::AtMost(bound) => format!("<= {bound} {}", self.unit).trim_end().to_owned(),
            Target::AtLeast(bound) => format!(">= {bound} {}", self.unit).trim_end().to_owned(),
            Target::None => "-".to_owned(),
        };
        let verdict = match self.held() {
            Some(true) => "held",
            Some(false) => "**missed**",
            None => "",
        };
        format!(
            "| {} | {} | {} | {} | {target} | {verdict} |",
            self.name,
            spread(&self.ours, self.unit),
            spread(&self.limit, self.unit),
            spread(&self.ratios(), "x"),
        )
    }
}

/// Latencies of one round, in nanoseconds.
pub struct Latencies(Histogram<u64>);

impl Latencies {
    /// None yet.
    pub fn new() -> Result<Latencies> {
        Ok(Latencies(Histogram::new(3)?))
    }

    /// Adds one.
    pub fn add(&mut self, time: std::time::Duration) -> Result<()> {
        Ok(self.0.record(u64::try_from(time.as_nanos())?)?)
    }

    /// Microseconds that half of them stay below.
    pub fn p50(&self) -> f64 {
        self.0.value_at_quantile(0.5) as f64 / 1e3
    }

    /// Microseconds that all but the slowest hundredth stay below.
    pub fn p99(&self) -> f64 {
        self.0.value_at_quantile(0.99) as f64 / 1e3
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

fn spread(values: &[f64], unit: &str) -> String {
    let Some(middle) = median(values) else { return "-".to_owned() };
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if unit == COUNT {
        return format!("{middle:.0} [{least:.0}..{most:.0}]");
    }
    let gap = if unit == "x" { "" } else { " " };
    format!("{}{gap}{unit} [{}..{}]", digits(middle), digits(least), digits(most))
}

/// Three digits are what such a figure is good for.
fn digits(value: f64) -> String {
    let size = value.abs();
    if size >= 100.0 {
        format!("{value:.0}")
    } else if size >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

/// When, where and how it was measured.
pub fn heading(setup: &Setup) -> Result<String> {
    let scale = if setup.quick { ", QUICK: sizes too small to judge by" } else { "" };
    Ok(format!(
        "{}; {}; load {} before; {} rounds{scale}.",
        machine::today()?,
        machine::describe()?,
        setup.load,
        setup.rounds
    ))
}

/// Replaces what stands between the markers of the file.
pub fn write(path: &Path, heading: &str, lines: &[String]) -> Result<()> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let new = replace(&text, &format!("{heading}\n\n{COLUMNS}\n{}", lines.join("\n")))
        .with_context(|| format!("{} lacks the marker comments", path.display()))?;
    std::fs::write(path, new).with_context(|| format!("cannot write {}", path.display()))
}

fn replace(text: &str, table: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{table}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_judged_by_the_median_of_its_rounds() {
        let mut row = Row::new("ping", "us", Target::RatioAtMost(1.3));
        for (ours, limit) in [(120.0, 100.0), (300.0, 100.0), (10.0, 10.0)] {
            row.add(ours, limit);
        }
        let line = "| ping | 120 us [10.0..300] | 100 us [10.0..100] | 1.20x [1.00..3.00] | <= 1.3x | held |";
        assert_eq!(row.line(), line);
        row.target = Target::AtLeast(121.0);
        assert!(row.line().ends_with("| >= 121 us | **missed** |"), "{}", row.line());
        let mut row = Row::new("left", COUNT, Target::AtMost(0.0));
        row.add_ours(1.0);
        assert_eq!(row.line(), "| left | 1 [1..1] | - | - | <= 0 | **missed** |");
    }

    #[test]
    fn the_table_goes_between_the_markers_and_nothing_else_changes() {
        let text = format!("above\n{BEGIN}\nold\n{END}\nbelow\n");
        let new = replace(&text, "new").unwrap();
        assert_eq!(new, format!("above\n{BEGIN}\nnew\n{END}\nbelow\n"));
        assert_eq!(replace("no markers", "new"), None);
    }
}
