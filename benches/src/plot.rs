//! How a cost grows, drawn: an SVG picture beside the table, made by the same run.

use std::path::Path;

use anyhow::{Context, Result};
use plotters::prelude::*;

/// Wide enough for a README, small enough for two beside each other.
const PIXELS: (u32, u32) = (560, 340);

/// Told apart also in grey.
const COLOURS: [RGBColor; 3] =
    [RGBColor(0x1f, 0x5f, 0xbf), RGBColor(0xd9, 0x6b, 0x1c), RGBColor(0x55, 0x55, 0x55)];

/// One picture.
pub struct Plot {
    /// Its file name, without `.svg`.
    pub name: &'static str,
    /// What it shows.
    pub title: String,
    /// Of what there is more and more to the right.
    pub along: &'static str,
    /// What grows, with its unit.
    pub up: &'static str,
    /// Steps of ten instead of even ones to the right.
    pub logarithmic: bool,
    /// Named lines of points; from 0 up.
    pub lines: Vec<(String, Vec<(f64, f64)>)>,
}

impl Plot {
    /// Draws it into the folder, in place of an older one.
    pub fn write(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let path = folder.join(self.name).with_extension("svg");
        let mut text = self.draw().with_context(|| format!("cannot draw {}", path.display()))?;
        text.push('\n');
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    fn draw(&self) -> Result<String> {
        let points = || self.lines.iter().flat_map(|(_, points)| points);
        let top = points().map(|(_, y)| *y).fold(0.0, f64::max) * 1.15;
        let right = points().map(|(x, _)| *x).fold(0.0, f64::max);
        let left = points().map(|(x, _)| *x).fold(right, f64::min);
        let mut text = String::new();
        {
            let area = SVGBackend::with_string(&mut text, PIXELS).into_drawing_area();
            area.fill(&WHITE)?;
            let mut frame = ChartBuilder::on(&area);
            frame.caption(&self.title, ("sans-serif", 16)).margin(12).margin_right(24);
            frame.x_label_area_size(40).y_label_area_size(56);
            if self.logarithmic {
                let chart = frame.build_cartesian_2d((left..right).log_scale(), 0.0..top)?;
                self.fill(chart)?;
            } else {
                self.fill(frame.build_cartesian_2d(0.0..right, 0.0..top)?)?;
            }
            area.present()?;
        }
        Ok(text)
    }

    fn fill<'a, X>(
        &self,
        mut chart: ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, plotters::coord::types::RangedCoordf64>>,
    ) -> Result<()>
    where
        X: Ranged<ValueType = f64> + plotters::coord::ranged1d::ValueFormatter<f64>,
    {
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .bold_line_style(BLACK.mix(0.12))
            .x_desc(self.along)
            .y_desc(self.up)
            .x_label_formatter(&|value| digits(*value))
            .y_label_formatter(&|value| digits(*value))
            .label_style(("sans-serif", 12))
            .axis_desc_style(("sans-serif", 13))
            .draw()?;
        for ((name, points), colour) in self.lines.iter().zip(COLOURS.iter().cycle()) {
            chart
                .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)).point_size(3))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
        }
        if self.lines.len() > 1 {
            chart
                .configure_series_labels()
                .position(if self.falls() {
                    SeriesLabelPosition::UpperRight
                } else {
                    SeriesLabelPosition::UpperLeft
                })
                .label_font(("sans-serif", 13))
                .background_style(WHITE.mix(0.8))
                .border_style(BLACK.mix(0.2))
                .draw()?;
        }
        Ok(())
    }

    /// Whether the highest line ends lower than it begins: then there is room on the right.
    fn falls(&self) -> bool {
        let highest = |ends: &mut dyn Iterator<Item = &(f64, f64)>| ends.map(|(_, y)| *y).fold(0.0, f64::max);
        let first = highest(&mut self.lines.iter().filter_map(|(_, points)| points.first()));
        first > highest(&mut self.lines.iter().filter_map(|(_, points)| points.last()))
    }
}

/// As people write a number beside an axis.
fn digits(value: f64) -> String {
    if value.abs() < 10.0 {
        return format!("{value:.2}").trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    let whole = format!("{value:.0}");
    match whole.len().checked_sub(3) {
        Some(thousands @ 1..) => format!("{},{}", &whole[..thousands], &whole[thousands..]),
        _ => whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_short_as_they_can_be() {
        for (value, text) in [(0.0, "0"), (0.5, "0.5"), (2.25, "2.25"), (300.0, "300"), (9000.0, "9,000")] {
            assert_eq!(digits(value), text);
        }
    }

    #[test]
    fn each_line_is_drawn_and_named() {
        let lines = vec![
            ("ours".to_owned(), vec![(1.0, 2.0), (1000.0, 3.0)]),
            ("the limit".to_owned(), vec![(1.0, 1.0)]),
        ];
        for logarithmic in [false, true] {
            let plot = Plot {
                name: "test",
                title: "A title".to_owned(),
                along: "members",
                up: "GB/s",
                logarithmic,
                lines: lines.clone(),
            };
            let text = plot.draw().unwrap();
            for words in ["A title", "members", "GB/s", "ours", "the limit", "</svg>"] {
                assert!(text.contains(words), "no {words:?} in {text}");
            }
        }
    }
}
