//! Places for the nodes of a picture: in columns from left to right, each one step further from where the bytes began.
//!
//! The method is that of Sugiyama, Tagawa and Toda (1981) in its simplest form: columns by the longest path, empty slots
//! where an edge passes a column, and in each column the order of fewest crossings that a few sweeps find. Parts that are not connected stand
//! below each other. The result depends on nothing but the input.

mod grid;

use std::collections::BTreeMap;

use self::grid::Grid;

/// What is to be placed.
#[derive(Clone, Debug)]
pub(in crate::render) struct Input {
    /// Height of each node in pixels.
    pub(in crate::render) heights: Vec<f64>,
    /// Edges as pairs of indexes of nodes.
    pub(in crate::render) edges: Vec<(usize, usize)>,
    /// Free space between two nodes of a column in pixels.
    pub(in crate::render) gap: f64,
}

/// Where everything is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::render) struct Layout {
    /// Column and middle (in pixels from the top) of each node.
    pub(in crate::render) nodes: Vec<Spot>,
    /// The places that each edge visits, from column to column: those of its two nodes, and of the slots between them.
    pub(in crate::render) paths: Vec<Vec<Spot>>,
    /// Number of columns.
    pub(in crate::render) columns: usize,
    /// Height in pixels.
    pub(in crate::render) height: f64,
}

/// A place.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::render) struct Spot {
    /// Column, from 0.
    pub(in crate::render) column: usize,
    /// Middle, in pixels from the top.
    pub(in crate::render) middle: f64,
}

/// Places all nodes.
pub(in crate::render) fn layout(input: &Input) -> Layout {
    let mut result = Layout {
        nodes: vec![Spot::default(); input.heights.len()],
        paths: vec![Vec::new(); input.edges.len()],
        ..Layout::default()
    };
    for members in components(input) {
        if result.height > 0.0 {
            result.height += 2.0 * input.gap;
        }
        place(input, &members, &mut result);
    }
    result
}

/// The connected parts, each as its nodes in ascending order; the part of node 0 comes first.
fn components(input: &Input) -> Vec<Vec<usize>> {
    let mut part: Vec<usize> = (0..input.heights.len()).collect();
    // Each pass carries the smallest number along every edge.
    let mut is_changed = true;
    while is_changed {
        is_changed = false;
        for &(from, to) in &input.edges {
            let least = part[from].min(part[to]);
            is_changed |= part[from] != least || part[to] != least;
            (part[from], part[to]) = (least, least);
        }
    }
    let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (node, least) in part.into_iter().enumerate() {
        members.entry(least).or_default().push(node);
    }
    members.into_values().collect()
}

/// Places one connected part below everything that is placed already.
fn place(input: &Input, members: &[usize], result: &mut Layout) {
    let columns = columns(input, members);
    let mut grid = Grid::new(input, members, &columns);
    grid.untangle();
    grid.straighten(input.gap);
    let top = result.height;
    result.height = top + grid.settle(top);
    result.columns = result.columns.max(grid.columns.len());
    for &node in members {
        result.nodes[node] = grid.spot(grid.cell_of_node[&node]);
    }
    for (edge, cells) in &grid.paths {
        result.paths[*edge] = cells.iter().map(|&cell| grid.spot(cell)).collect();
    }
}

/// The column of each node: one more than the furthest node before it. An edge that closes a circle counts for nothing.
fn columns(input: &Input, members: &[usize]) -> BTreeMap<usize, usize> {
    let forward = forward_edges(input, members);
    let mut columns: BTreeMap<usize, usize> = members.iter().map(|&node| (node, 0)).collect();
    // Without circles, no path is longer than the number of nodes.
    for _ in members {
        for &(from, to) in &forward {
            columns.insert(to, columns[&to].max(columns[&from] + 1));
        }
    }
    // A node without a node before it stands directly before the next one.
    for &node in members.iter().filter(|&&node| forward.iter().all(|&(_, to)| to != node)) {
        let next = forward.iter().filter(|&&(from, _)| from == node).map(|&(_, to)| columns[&to]);
        columns.insert(node, next.min().unwrap_or(1).saturating_sub(1));
    }
    columns
}

/// The edges of a part without those that lead back to a node from which they can be reached.
fn forward_edges(input: &Input, members: &[usize]) -> Vec<(usize, usize)> {
    let mut next: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for &(from, to) in input.edges.iter().filter(|(from, to)| from != to) {
        next.entry(from).or_default().push(to);
    }
    let has_before = |node: usize| input.edges.iter().any(|&(from, to)| to == node && from != to);
    let mut roots: Vec<usize> = members.to_vec();
    roots.sort_by_key(|&node| has_before(node));
    let mut forward = Vec::new();
    // 0: not visited; 1: on the way to the current node; 2: done.
    let mut states: BTreeMap<usize, u8> = BTreeMap::new();
    for root in roots {
        let mut stack = vec![(root, 0)];
        while let Some((node, child)) = stack.pop() {
            if child == 0 && states.insert(node, 1).is_some() {
                states.insert(node, 2);
                continue;
            }
            let Some(&to) = next.get(&node).and_then(|next| next.get(child)) else {
                states.insert(node, 2);
                continue;
            };
            stack.push((node, child + 1));
            match states.get(&to) {
                Some(1) => {}
                Some(_) => forward.push((node, to)),
                None => {
                    forward.push((node, to));
                    stack.push((to, 0));
                }
            }
        }
    }
    forward
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn placed(nodes: usize, edges: &[(usize, usize)]) -> Layout {
        layout(&Input { heights: vec![40.0; nodes], edges: edges.to_vec(), gap: 16.0 })
    }

    #[test]
    fn a_chain_is_a_straight_line() {
        let layout = placed(4, &[(0, 1), (1, 2), (2, 3)]);
        let spots: Vec<_> = layout.nodes.iter().map(|spot| (spot.column, spot.middle)).collect();
        assert_eq!(spots, [(0, 20.0), (1, 20.0), (2, 20.0), (3, 20.0)]);
        assert_eq!((layout.columns, layout.height), (4, 40.0));
    }

    #[test]
    fn an_edge_that_passes_a_column_has_a_slot_there() {
        let layout = placed(3, &[(0, 1), (1, 2), (0, 2)]);
        assert_eq!(layout.paths[2].iter().map(|spot| spot.column).collect::<Vec<_>>(), [0, 1, 2]);
        assert!((layout.paths[2][1].middle - layout.nodes[1].middle).abs() >= 20.0);
    }

    #[test]
    fn a_circle_has_one_edge_back() {
        let layout = placed(3, &[(0, 1), (1, 2), (2, 0)]);
        assert_eq!(layout.nodes.iter().map(|spot| spot.column).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(layout.paths[2].iter().map(|spot| spot.column).collect::<Vec<_>>(), [2, 1, 0]);
    }

    #[test]
    fn a_late_source_stands_before_its_target() {
        let layout = placed(4, &[(0, 1), (1, 2), (3, 2)]);
        assert_eq!(layout.nodes[3].column, 1);
    }

    proptest! {
        #[test]
        fn nothing_overlaps(
            nodes in 1_usize..20, seed in prop::collection::vec((0_usize..20, 0_usize..20), 0..40),
        ) {
            let edges: Vec<_> = seed.iter().map(|&(from, to)| (from % nodes, to % nodes)).collect();
            let result = placed(nodes, &edges);
            prop_assert_eq!(&result, &placed(nodes, &edges));
            for (index, one) in result.nodes.iter().enumerate() {
                prop_assert!(one.middle >= 19.9 && one.middle <= result.height - 19.9);
                for other in &result.nodes[..index] {
                    let apart = (one.middle - other.middle).abs();
                    prop_assert!(one.column != other.column || apart >= 55.9, "{apart} {result:?}");
                }
            }
            for (&(from, to), path) in edges.iter().zip(&result.paths) {
                prop_assert_eq!(path.first(), Some(&result.nodes[from]));
                prop_assert_eq!(path.last(), Some(&result.nodes[to]));
            }
        }
    }
}
