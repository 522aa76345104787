//! The cells of one connected part: their order in each column, and their height in the drawing.

use std::collections::BTreeMap;

use super::{Input, Spot};

/// How many times each column is put into the order of its neighbours, and moved towards them.
const SWEEPS: usize = 8;
/// Height of the slot of an edge that passes a column, in pixels.
const SLOT: f64 = 14.0;

/// A node, or the slot of an edge.
#[derive(Clone, Debug, Default)]
struct Cell {
    column: usize,
    height: f64,
    middle: f64,
    before: Vec<usize>,
    after: Vec<usize>,
}

/// The columns of one connected part.
pub(super) struct Grid {
    cells: Vec<Cell>,
    /// The cell of each node.
    pub(super) cell_of_node: BTreeMap<usize, usize>,
    /// The cells of each column from top to bottom.
    pub(super) columns: Vec<Vec<usize>>,
    /// The cells of each edge, in its direction.
    pub(super) paths: Vec<(usize, Vec<usize>)>,
}

impl Grid {
    pub(super) fn new(
        input: &Input,
        members: &[usize],
        column_of: &BTreeMap<usize, usize>,
    ) -> Self {
        let mut grid = Self {
            cells: Vec::new(),
            cell_of_node: BTreeMap::new(),
            columns: Vec::new(),
            paths: Vec::new(),
        };
        for &node in members {
            let cell = grid.add(column_of[&node], input.heights[node]);
            grid.cell_of_node.insert(node, cell);
        }
        for (edge, &(from, to)) in input.edges.iter().enumerate() {
            let Some(&first) = grid.cell_of_node.get(&from) else { continue };
            let last = grid.cell_of_node[&to];
            grid.add_path(edge, first, last);
        }
        grid
    }

    /// The place of a cell.
    pub(super) fn spot(&self, cell: usize) -> Spot {
        Spot { column: self.cells[cell].column, middle: self.cells[cell].middle }
    }

    fn add(&mut self, column: usize, height: f64) -> usize {
        if self.columns.len() <= column {
            self.columns.resize(column + 1, Vec::new());
        }
        self.columns[column].push(self.cells.len());
        self.cells.push(Cell { column, height, ..Cell::default() });
        self.cells.len() - 1
    }

    /// Adds an edge with a slot in each column that it passes.
    fn add_path(&mut self, edge: usize, first: usize, last: usize) {
        let is_backward = self.cells[first].column > self.cells[last].column;
        let (left, right) = if is_backward { (last, first) } else { (first, last) };
        let mut path = vec![left];
        for column in self.cells[left].column + 1..self.cells[right].column {
            path.push(self.add(column, SLOT));
        }
        path.push(right);
        for pair in path.windows(2) {
            self.cells[pair[0]].after.push(pair[1]);
            self.cells[pair[1]].before.push(pair[0]);
        }
        if is_backward {
            path.reverse();
        }
        self.paths.push((edge, path));
    }

    /// Puts each column into the order of fewest crossings that sweeps to and fro find, and then swaps neighbours as long
    /// as that helps.
    pub(super) fn untangle(&mut self) {
        let mut best = (self.crossings(), self.columns.clone());
        for sweep in 0..SWEEPS {
            self.order(sweep % 2 == 0);
            let crossings = self.crossings();
            if crossings < best.0 {
                best = (crossings, self.columns.clone());
            }
        }
        self.columns = best.1;
        for _ in 0..SWEEPS {
            let before = self.crossings();
            (0..self.columns.len()).for_each(|column| self.swap_neighbours(column));
            if self.crossings() >= before {
                break;
            }
        }
    }

    fn swap_neighbours(&mut self, column: usize) {
        for index in 1..self.columns[column].len() {
            let before = self.crossings();
            self.columns[column].swap(index - 1, index);
            if self.crossings() >= before {
                self.columns[column].swap(index - 1, index);
            }
        }
    }

    /// How many pairs of edges cross.
    fn crossings(&self) -> usize {
        let position = self.positions();
        let mut crossings = 0;
        for column in &self.columns {
            let edges = column
                .iter()
                .flat_map(|&cell| self.cells[cell].after.iter().map(move |&next| (cell, next)));
            let edges: Vec<_> = edges.map(|(from, to)| (position[from], position[to])).collect();
            for (index, one) in edges.iter().enumerate() {
                let crosses = |other: &&(usize, usize)| {
                    (one.0 < other.0 && one.1 > other.1) || (one.0 > other.0 && one.1 < other.1)
                };
                crossings += edges[..index].iter().filter(crosses).count();
            }
        }
        crossings
    }

    /// The position of each cell in its column.
    fn positions(&self) -> Vec<usize> {
        let mut positions = vec![0; self.cells.len()];
        for (index, &cell) in self.columns.iter().flat_map(|column| column.iter().enumerate()) {
            positions[cell] = index;
        }
        positions
    }

    /// Orders each column by the mean position of its neighbours on one side.
    fn order(&mut self, is_forward: bool) {
        let mut position = self.positions();
        let count = self.columns.len();
        for step in 0..count {
            let column = if is_forward { step } else { count - 1 - step };
            let wanted = |&cell: &usize| {
                let neighbours = self.neighbours(cell, is_forward);
                let sum: usize = neighbours.iter().map(|&other| position[other]).sum();
                if neighbours.is_empty() {
                    position[cell] as f64
                } else {
                    sum as f64 / neighbours.len() as f64
                }
            };
            let mut keyed: Vec<(f64, usize)> =
                self.columns[column].iter().map(|cell| (wanted(cell), *cell)).collect();
            keyed.sort_by(|one, other| one.0.total_cmp(&other.0));
            for (index, (_, cell)) in keyed.iter().enumerate() {
                position[*cell] = index;
            }
            self.columns[column] = keyed.into_iter().map(|(_, cell)| cell).collect();
        }
    }

    fn neighbours(&self, cell: usize, is_forward: bool) -> &[usize] {
        let cell = &self.cells[cell];
        if is_forward { &cell.before } else { &cell.after }
    }

    /// Puts the cells of each column below each other.
    fn stack(&mut self, gap: f64) {
        for column in &self.columns {
            let mut top = 0.0;
            for &cell in column {
                let cell = &mut self.cells[cell];
                cell.middle = top + cell.height / 2.0;
                top += cell.height + gap;
            }
        }
    }

    /// Gives each cell its height in the drawing: close to its neighbours, without overlaps.
    pub(super) fn straighten(&mut self, gap: f64) {
        self.stack(gap);
        for sweep in 0..SWEEPS {
            self.align(sweep % 2 == 0, gap);
        }
    }

    /// Moves each cell towards the mean of its neighbours on one side, as far as its column leaves room.
    fn align(&mut self, is_forward: bool, gap: f64) {
        let count = self.columns.len();
        for step in 0..count {
            let column = self.columns[if is_forward { step } else { count - 1 - step }].clone();
            let wanted: Vec<f64> =
                column.iter().map(|&cell| self.wanted(cell, is_forward)).collect();
            // Down from the top, then up from the bottom; the mean of both keeps the order and the gaps.
            let mut down = wanted.clone();
            for index in 1..column.len() {
                let least = down[index - 1] + self.distance(column[index - 1], column[index], gap);
                down[index] = down[index].max(least);
            }
            let mut up = wanted;
            for index in (1..column.len()).rev() {
                let most = up[index] - self.distance(column[index - 1], column[index], gap);
                up[index - 1] = up[index - 1].min(most);
            }
            for (index, &cell) in column.iter().enumerate() {
                self.cells[cell].middle = f64::midpoint(down[index], up[index]);
            }
        }
    }

    fn wanted(&self, cell: usize, is_forward: bool) -> f64 {
        let neighbours = self.neighbours(cell, is_forward);
        let sum: f64 = neighbours.iter().map(|&other| self.cells[other].middle).sum();
        if neighbours.is_empty() { self.cells[cell].middle } else { sum / neighbours.len() as f64 }
    }

    fn distance(&self, upper: usize, lower: usize, gap: f64) -> f64 {
        f64::midpoint(self.cells[upper].height, self.cells[lower].height) + gap
    }

    /// Moves everything down, so that nothing is above `top`; returns the height.
    pub(super) fn settle(&mut self, top: f64) -> f64 {
        let upper = |cell: &Cell| cell.middle - cell.height / 2.0;
        let least = self.cells.iter().map(upper).fold(f64::INFINITY, f64::min);
        let lower = |cell: &Cell| cell.middle + cell.height / 2.0;
        let most = self.cells.iter().map(lower).fold(f64::NEG_INFINITY, f64::max);
        self.cells.iter_mut().for_each(|cell| cell.middle += top - least);
        most - least
    }
}
