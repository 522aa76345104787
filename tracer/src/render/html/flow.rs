//! The flow as a drawing (SVG).

use std::fmt::Write as _;

use maud::{Markup, html};
use textwrap::{Options, WordSeparator, WordSplitter, core::Word};

use super::class;
use crate::render::picture::{
    Edge, Mark, Node, Picture, Shape,
    layout::{Input, Layout, Spot, layout},
};

/// Width of a node in pixels.
const WIDTH: f64 = 170.0;
/// Columns of a node's title, which is monospaced.
const TITLE: usize = 24;
/// Columns of the lines below the title.
const DETAIL: usize = 27;
/// Height of a line of text.
const LINE: f64 = 13.0;
/// Space around the text of a node.
const PAD: f64 = 8.0;
/// Space between two lines that end at the same node.
const PORT: f64 = 26.0;
/// Space around the drawing.
const MARGIN: f64 = 8.0;
/// Length of the head of an arrow.
const HEAD: f64 = 8.0;

/// The drawing with its legend.
pub(super) fn section(picture: &Picture) -> Markup {
    let drawing = Drawing::of(picture);
    let (width, height) = drawing.size();
    html! {
        @if !picture.nodes.is_empty() {
            section {
                h2 { "Where the bytes went" }
                div.scroll {
                    svg.flow.tall[height > width * 0.6].wide[width > 736.0] role="img" aria-label="The flow of the output" viewBox={ "0 0 " (px(width)) " " (px(height)) }
                        width=(px(width)) height=(px(height)) {
                        @for index in 0..picture.edges.len() { (drawing.line(index)) }
                        @for index in 0..picture.nodes.len() { (drawing.node(index)) }
                        @for (index, edge) in picture.edges.iter().enumerate() {
                            // The node of lost bytes has their number.
                            @if edge.mark != Mark::Bad { (drawing.label(index)) }
                        }
                    }
                }
                p.note {
                    "Bytes go from left to right; the more bytes, the wider the line. "
                    span.bad { "Red" } " did not arrive, " span.odd { "orange" } " deserves a look. "
                    "A process has round corners; “outside” means that it is not of the target."
                }
            }
        }
    }
}

/// The end of an edge: where it touches its node, and on which side.
#[derive(Clone, Copy, Debug, Default)]
struct Port {
    x: f64,
    y: f64,
    /// How many edges end at that side of the node.
    siblings: usize,
}

struct Drawing<'a> {
    picture: &'a Picture,
    texts: Vec<(Vec<String>, Vec<String>)>,
    heights: Vec<f64>,
    layout: Layout,
    /// The two ends of each edge.
    ports: Vec<[Port; 2]>,
    /// Space between two columns.
    gap: f64,
}

impl<'a> Drawing<'a> {
    fn of(picture: &'a Picture) -> Self {
        let texts: Vec<_> = picture.nodes.iter().map(lines).collect();
        let edges: Vec<_> = picture.edges.iter().map(|edge| (edge.from, edge.to)).collect();
        let ends = |node: usize| {
            let of = |is_out: bool| {
                edges
                    .iter()
                    .filter(|edge| if is_out { edge.0 == node } else { edge.1 == node })
                    .count()
            };
            of(true).max(of(false)) as f64
        };
        let height = |(node, (title, details)): (usize, &(Vec<String>, Vec<String>))| {
            let text = (title.len() + details.len()) as f64 * LINE + 2.0 * PAD;
            text.max(ends(node) * PORT)
        };
        let heights: Vec<f64> = texts.iter().enumerate().map(height).collect();
        let layout = layout(&Input { heights: heights.clone(), edges, gap: 14.0 });
        let columns = |edge: &Edge| edge.amount().len().max(edge.remark.len());
        let widest = picture.edges.iter().map(columns).max().unwrap_or(0).clamp(8, 20);
        let gap = widest as f64 * 6.2 + 26.0;
        let mut drawing = Self { picture, texts, heights, layout, ports: Vec::new(), gap };
        drawing.ports = drawing.find_ports();
        drawing
    }

    fn size(&self) -> (f64, f64) {
        let columns = self.layout.columns as f64;
        let width = columns * WIDTH + (columns - 1.0).max(0.0) * self.gap;
        (width + 2.0 * MARGIN, self.layout.height + 2.0 * MARGIN)
    }

    fn left(&self, column: usize) -> f64 {
        MARGIN + column as f64 * (WIDTH + self.gap)
    }

    /// Spreads the ends of edges over the sides of their nodes, in the order of what is at the other end.
    fn find_ports(&self) -> Vec<[Port; 2]> {
        let mut ports = vec![[Port::default(); 2]; self.picture.edges.len()];
        for (node, spot) in self.layout.nodes.iter().enumerate() {
            for is_right in [false, true] {
                let mut here: Vec<(f64, usize, usize)> = Vec::new();
                for (index, edge) in self.picture.edges.iter().enumerate() {
                    for (end, own) in [edge.from, edge.to].into_iter().enumerate() {
                        let next = self.next_spot(index, end);
                        if own == node && (next.column > spot.column) == is_right {
                            here.push((next.middle, index, end));
                        }
                    }
                }
                here.sort_by(|one, other| one.0.total_cmp(&other.0));
                let siblings = here.len();
                let x = self.left(spot.column) + if is_right { WIDTH } else { 0.0 };
                for (place, (_, index, end)) in here.into_iter().enumerate() {
                    let offset = (place as f64 - (siblings as f64 - 1.0) / 2.0) * PORT;
                    ports[index][end] = Port { x, y: MARGIN + spot.middle + offset, siblings };
                }
            }
        }
        ports
    }

    /// The spot beside an end of an edge.
    fn next_spot(&self, edge: usize, end: usize) -> Spot {
        let path = &self.layout.paths[edge];
        let index = if end == 0 { 1 } else { path.len().saturating_sub(2) };
        path.get(index).copied().unwrap_or_default()
    }

    /// The points at which an edge leaves and enters columns, in pairs.
    fn stretches(&self, index: usize) -> Vec<[(f64, f64); 2]> {
        let path = &self.layout.paths[index];
        let [first, last] = self.ports[index];
        let mut points = vec![(first.x, first.y)];
        let is_rightward =
            path.first().map(|spot| spot.column) <= path.last().map(|spot| spot.column);
        for slot in path.get(1..path.len() - 1).unwrap_or_default() {
            let (left, y) = (self.left(slot.column), MARGIN + slot.middle);
            let sides = if is_rightward { [left, left + WIDTH] } else { [left + WIDTH, left] };
            points.extend(sides.map(|x| (x, y)));
        }
        points.push((last.x, last.y));
        points.chunks_exact(2).map(|pair| [pair[0], pair[1]]).collect()
    }

    fn line(&self, index: usize) -> Markup {
        let edge = &self.picture.edges[index];
        let mut stretches = self.stretches(index);
        let Some([before, tip]) = stretches.last().copied() else { return Markup::default() };
        let direction = if tip.0 < before.0 { -1.0 } else { 1.0 };
        if let Some(last) = stretches.last_mut() {
            last[1].0 -= direction * HEAD * 0.8;
        }
        let mut path = String::new();
        for (number, [(x, y), (to_x, to_y)]) in stretches.into_iter().enumerate() {
            let (middle, begin) = (f64::midpoint(x, to_x), if number == 0 { 'M' } else { 'L' });
            // Writing to a string cannot fail.
            let _ = write!(
                path,
                "{begin}{x:.1} {y:.1}C{middle:.1} {y:.1} {middle:.1} {to_y:.1} {to_x:.1} {to_y:.1}"
            );
        }
        let half = (edge.width() / 2.0 + 2.5).max(4.0);
        let (x, y) = (tip.0 - direction * HEAD, tip.1);
        let head = format!("{:.1},{y:.1} {x:.1},{:.1} {x:.1},{:.1}", tip.0, y - half, y + half);
        let kind = if edge.is_idle() { "line idle" } else { "line" };
        html! {
            path class={ (kind) " " (class(edge.mark)) } d=(path) stroke-width=(px(edge.width())) {}
            polygon class={ "head " (class(edge.mark)) } points=(head) {}
        }
    }

    fn label(&self, index: usize) -> Markup {
        let edge = &self.picture.edges[index];
        let [from, to] = self.ports[index];
        let stretches = self.stretches(index);
        // Where the other edges are further away.
        let (stretch, at) = match (from.siblings, to.siblings) {
            (1, 1) => (stretches.first(), 0.46),
            (_, 1) => (stretches.last(), 0.62),
            _ => (stretches.first(), 0.34),
        };
        let Some([(x1, y1), (x2, y2)]) = stretch.copied() else { return Markup::default() };
        let rest: f64 = 1.0 - at;
        let middle = f64::midpoint(x1, x2);
        let x = x1 * rest.powi(3) + 3.0 * middle * at * rest + x2 * at.powi(3);
        let y = y1 * rest * rest * (1.0 + 2.0 * at) + y2 * at * at * (3.0 - 2.0 * at);
        let half = edge.width() / 2.0;
        html! {
            g class={ "label " (class(edge.mark)) } {
                @if edge.bytes.is_some() { text x=(px(x)) y=(px(y - half - 3.0)) { (edge.amount()) } }
                @if !edge.remark.is_empty() {
                    text.remark x=(px(x)) y=(px(y + half + 10.0)) { (edge.remark) }
                }
            }
        }
    }

    fn node(&self, index: usize) -> Markup {
        let node = &self.picture.nodes[index];
        let spot = self.layout.nodes[index];
        let (title, details) = &self.texts[index];
        let (left, height) = (self.left(spot.column), self.heights[index]);
        let top = MARGIN + spot.middle - height / 2.0;
        let radius = match node.shape {
            Shape::Process | Shape::Group => 9.0,
            Shape::Pipe | Shape::Socket => 3.0,
            _ => 0.0,
        };
        let text = (title.len() + details.len()) as f64 * LINE;
        let first = top + (height - text) / 2.0 + LINE - 3.0;
        let line = |number: usize| px(first + number as f64 * LINE);
        let centre = px(left + WIDTH / 2.0);
        html! {
            g class={ "node " (shape(node.shape)) " " (class(node.mark)) } {
                rect x=(px(left)) y=(px(top)) width=(px(WIDTH)) height=(px(height)) rx=(px(radius)) {}
                @for (number, words) in title.iter().enumerate() {
                    text.name x=(centre) y=(line(number)) { (words) }
                }
                @for (number, words) in details.iter().enumerate() {
                    text.detail x=(centre) y=(line(title.len() + number)) { (words) }
                }
            }
        }
    }
}

/// The lines of a node: its title, and what is below it.
fn lines(node: &Node) -> (Vec<String>, Vec<String>) {
    let wrap = |text: &str, columns: usize| -> Vec<String> {
        let options = Options::new(columns)
            .word_separator(WordSeparator::Custom(words))
            .word_splitter(WordSplitter::NoHyphenation);
        textwrap::wrap(text, options).into_iter().map(std::borrow::Cow::into_owned).collect()
    };
    let details = node.details.iter().flat_map(|detail| wrap(detail, DETAIL));
    (wrap(&node.title, TITLE), details.collect())
}

/// Paths break after a slash, but not after their first one.
fn words(line: &str) -> Box<dyn Iterator<Item = Word<'_>> + '_> {
    let (mut begin, mut before) = (0, ' ');
    let mut words = Vec::new();
    for (at, character) in line.char_indices() {
        let is_end = character == ' ' || character == '/' && before != ' ';
        if is_end {
            words.push(Word::from(&line[begin..=at]));
            begin = at + 1;
        }
        before = character;
    }
    words.push(Word::from(&line[begin..]));
    Box::new(words.into_iter())
}

fn shape(shape: Shape) -> &'static str {
    match shape {
        Shape::Process => "process",
        Shape::Group => "group",
        Shape::Pipe => "pipe",
        Shape::File => "file",
        Shape::Socket => "socket",
        Shape::Terminal => "terminal",
        Shape::Device => "device",
        Shape::Lost => "lost",
        Shape::Rest => "rest",
    }
}

/// A length in pixels, for an attribute.
fn px(length: f64) -> String {
    let text = format!("{length:.1}");
    text.strip_suffix(".0").map_or_else(|| text.clone(), str::to_owned)
}
