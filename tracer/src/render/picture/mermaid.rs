//! A picture in the language of Mermaid, which the pages of code forges draw.
//!
//! A label in quotes can still hold markup: HTML, Markdown, and entities such as `#quot;`. So [`quoted`] writes every
//! character that is neither a letter, a digit nor harmless as `#N;`, N being its number in decimal
//! (<https://mermaid.js.org/syntax/flowchart.html#entity-codes-to-escape-characters>).

use std::{fmt::Write as _, io};

use super::{Edge, Mark, Node, Picture, Shape};

/// A backslash and an invisible character (U+2060). Mermaid breaks the line at a backslash and an `n`, also if both are
/// written as numbers.
const BACKSLASH: &str = "#92;#8288;";

/// Writes the flow chart.
pub(in crate::render) fn write(picture: &Picture, out: &mut dyn io::Write) -> io::Result<()> {
    writeln!(out, "flowchart LR")?;
    for (index, node) in picture.nodes.iter().enumerate() {
        write_node(index, node, out)?;
    }
    picture.edges.iter().try_for_each(|edge| write_edge(edge, out))?;
    let classes = [
        (Mark::Bad, "bad", "stroke:#c8102e,color:#c8102e,stroke-width:3px"),
        (Mark::Odd, "odd", "stroke:#b45309,stroke-width:2px"),
    ];
    for (mark, name, style) in classes {
        let marked = indexes(picture.nodes.iter().map(|node| node.mark == mark), "n");
        if !marked.is_empty() {
            writeln!(out, "  classDef {name} {style}")?;
            writeln!(out, "  class {marked} {name}")?;
        }
    }
    let lost = indexes(picture.edges.iter().map(|edge| edge.mark == Mark::Bad), "");
    if !lost.is_empty() {
        writeln!(out, "  linkStyle {lost} stroke:#c8102e,color:#c8102e")?;
    }
    Ok(())
}

fn write_node(index: usize, node: &Node, out: &mut dyn io::Write) -> io::Result<()> {
    let lines = std::iter::once(&node.title).chain(&node.details);
    let label = quoted(lines.map(String::as_str));
    let (open, close) = match node.shape {
        Shape::Process | Shape::Group => ("(", ")"),
        Shape::Pipe => ("([", "])"),
        Shape::File | Shape::Rest => ("[", "]"),
        Shape::Socket => ("{{", "}}"),
        Shape::Terminal => ("[[", "]]"),
        Shape::Device => ("[(", ")]"),
        Shape::Lost => (">", "]"),
    };
    writeln!(out, "  n{index}{open}{label}{close}")
}

fn write_edge(edge: &Edge, out: &mut dyn io::Write) -> io::Result<()> {
    let line = match edge.bytes.unwrap_or(0) {
        _ if edge.is_idle() => "-.->",
        65_536.. => "==>",
        _ => "-->",
    };
    let label = match edge.label() {
        none if none.is_empty() => none,
        label => format!("|{}|", quoted([label.as_str()])),
    };
    writeln!(out, "  n{} {line}{label} n{}", edge.from, edge.to)
}

/// `n1,n4`: the numbers of those that are marked.
fn indexes(marked: impl Iterator<Item = bool>, name: &str) -> String {
    let marked = marked.enumerate().filter(|(_, is_marked)| *is_marked);
    marked.map(|(index, _)| format!("{name}{index}")).collect::<Vec<_>>().join(",")
}

/// A quoted label of lines, in which no character has a meaning.
fn quoted<'a>(lines: impl IntoIterator<Item = &'a str>) -> String {
    let mut text = String::from("\"");
    for (index, line) in lines.into_iter().enumerate() {
        text.push_str(if index > 0 { "<br/>" } else { "" });
        let mut characters = line.chars().peekable();
        while let Some(character) = characters.next() {
            if character == '\\' && characters.peek() == Some(&'n') {
                text.push_str(BACKSLASH);
            } else if character.is_alphanumeric() || " .,/·…+-_=()[]".contains(character) {
                text.push(character);
            } else {
                // Writing to a string cannot fail.
                let _ = write!(text, "#{};", u32::from(character));
            }
        }
    }
    text.push('"');
    text
}
