//! A picture in the language of Graphviz.
//!
//! Names are quoted strings (<https://graphviz.org/doc/info/lang.html>). In a label, Graphviz reads escapes that begin with
//! a backslash and the entities of HTML; [`quoted`] makes both plain text.

use std::io;

use tracer_core::text::shorten;

use super::{Edge, Mark, Node, Picture, Shape};

/// The most columns of the first sentence, which stands above the graph.
const VERDICT: usize = 160;

/// Writes the graph.
pub(in crate::render) fn write(
    picture: &Picture,
    verdict: &str,
    out: &mut dyn io::Write,
) -> io::Result<()> {
    writeln!(out, "digraph tracer {{")?;
    writeln!(out, "  rankdir=LR; charset=\"UTF-8\"; labelloc=t; fontname=\"sans-serif\";")?;
    writeln!(out, "  label={};", quoted([shorten(verdict, VERDICT).as_str()]))?;
    writeln!(out, "  node [fontname=\"sans-serif\", fontsize=11];")?;
    writeln!(out, "  edge [fontname=\"sans-serif\", fontsize=10];")?;
    for (index, node) in picture.nodes.iter().enumerate() {
        write_node(index, node, out)?;
    }
    picture.edges.iter().try_for_each(|edge| write_edge(edge, out))?;
    writeln!(out, "}}")
}

fn write_node(index: usize, node: &Node, out: &mut dyn io::Write) -> io::Result<()> {
    let lines = std::iter::once(&node.title).chain(&node.details);
    let label = quoted(lines.map(String::as_str));
    let shape = match node.shape {
        Shape::Process => "box, style=rounded",
        Shape::Group => "box, style=\"rounded,dashed\"",
        Shape::Pipe => "box, style=filled, fillcolor=\"#eef1f4\"",
        Shape::File => "note",
        Shape::Socket => "component",
        Shape::Terminal => "tab",
        Shape::Device => "box",
        Shape::Lost => "box, style=filled, fillcolor=\"#fdecee\"",
        Shape::Rest => "plaintext",
    };
    writeln!(out, "  n{index} [label={label}, shape={shape}{}];", color(node.mark))
}

fn write_edge(edge: &Edge, out: &mut dyn io::Write) -> io::Result<()> {
    let Edge { from, to, mark, .. } = edge;
    let style = if edge.is_idle() { ", style=dashed" } else { "" };
    let (label, width, color) = (quoted([edge.label().as_str()]), edge.width(), color(*mark));
    writeln!(out, "  n{from} -> n{to} [label={label}, penwidth={width:.1}{style}{color}];")
}

fn color(mark: Mark) -> &'static str {
    match mark {
        Mark::Fine => "",
        Mark::Odd => ", color=\"#b45309\", fontcolor=\"#b45309\"",
        Mark::Bad => ", color=\"#c8102e\", fontcolor=\"#c8102e\"",
    }
}

/// A quoted string of lines, in which no character has a meaning.
fn quoted<'a>(lines: impl IntoIterator<Item = &'a str>) -> String {
    let mut text = String::from("\"");
    for (index, line) in lines.into_iter().enumerate() {
        text.push_str(if index > 0 { "\\n" } else { "" });
        for character in line.chars() {
            match character {
                '"' => text.push_str("\\\""),
                '\\' => text.push_str("\\\\"),
                '&' => text.push_str("&amp;"),
                other => text.push(other),
            }
        }
    }
    text.push('"');
    text
}
