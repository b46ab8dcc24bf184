//! Graphs in layers from left to right: causes and effects, and who trusts whom.

use std::collections::BTreeMap;

use super::svg::{Anchor, Drawing, LINE, Picture, escaped, lines, width_of};

/// Nodes that are drawn at most: more are a table's, not a picture's.
const NODES_DRAWN: usize = 120;
const EDGES_DRAWN: usize = 600;
/// Room for the texts of a node; for its name, in bold, and the lines that this takes at most.
const BOX_MAX: f64 = 172.0;
const NAME: f64 = 136.0;
const NAME_LINES: usize = 3;
const BETWEEN_LAYERS: f64 = 76.0;
const BETWEEN_NODES: f64 = 34.0;
/// Room for the text of an edge, and the lines that it takes at most.
const LABEL_MAX: f64 = 130.0;
const LABEL_LINES: usize = 4;
const MARGIN: f64 = 14.0;
/// Edges from one layer that have their texts beside them.
const LABELS_DRAWN: usize = 8;
/// Sweeps over the layers in which the nodes seek the middle of their neighbours.
const SWEEPS: usize = 12;

/// How a node or an edge looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// As most do.
    Plain,
    /// In green and dashed: something that holds harm off.
    Good,
    /// In red and thick: something that is wrong.
    Bad,
}

impl Look {
    fn ending(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Good => "-good",
            Self::Bad => "-bad",
        }
    }
}

/// A node.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its name, in bold.
    pub name: String,
    /// Smaller lines below it.
    pub lines: Vec<String>,
    /// How it looks.
    pub look: Look,
}

/// An edge between two nodes, by their places in the list.
#[derive(Clone, Debug)]
pub struct Edge {
    /// Where it begins.
    pub from: usize,
    /// Where its tip is.
    pub to: usize,
    /// What stands beside it.
    pub label: String,
    /// How it looks.
    pub look: Look,
}

impl Edge {
    /// Its text as it is drawn.
    fn lines(&self) -> Vec<String> {
        lines(&self.label, LABEL_MAX, LABEL_LINES)
    }
}

/// A graph.
#[derive(Clone, Debug)]
pub struct Graph {
    /// What it is called.
    pub title: String,
    /// What it shows, in words.
    pub description: String,
    /// The nodes.
    pub nodes: Vec<Node>,
    /// The edges; one that names no node is left out.
    pub edges: Vec<Edge>,
}

/// Where a node lies, or a bend of an edge that passes a layer.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    layer: usize,
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

impl Graph {
    /// Draws it: every edge that closes no cycle leads to the right.
    ///
    /// Cost: O(s e log n) for s sweeps, e edges and n nodes; a graph that is too large for a picture
    /// becomes a line that says so.
    pub fn draw(&self) -> Picture {
        if self.nodes.len() > NODES_DRAWN || self.edges.len() > EDGES_DRAWN {
            return self.too_large();
        }
        let edges: Vec<&Edge> = self.edges.iter().filter(|edge| self.has_ends(edge)).collect();
        let mut of = layers(self.nodes.len(), &edges);
        let routes: Vec<Vec<usize>> = edges.iter().map(|edge| route(edge, &mut of)).collect();
        let hops: Vec<(usize, usize)> = routes.iter().flat_map(|route| hops(route)).collect();
        let layers = layered(&of, &hops);
        let (places, (width, height)) = self.places(&layers, &edges);
        let mut drawing = Drawing::new(width, height);
        for (edge, route) in edges.iter().zip(&routes) {
            draw_edge(&mut drawing, edge, &stops(route, &places));
        }
        for (node, place) in self.nodes.iter().zip(&places) {
            draw_node(&mut drawing, node, place);
        }
        let layer = |id: usize| of.get(id).copied().unwrap_or_default();
        for (edge, route) in edges.iter().zip(&routes) {
            let is_beside = |other: &&&Edge| layer(other.from) == layer(edge.from);
            if edges.iter().filter(is_beside).count() > LABELS_DRAWN {
                // They would hide one another; each shows when pointed at.
                continue;
            }
            let fan_out = edges.iter().filter(|other| other.from == edge.from).count() > 1;
            let fan_in = edges.iter().filter(|other| other.to == edge.to).count() > 1;
            let along = match (fan_out, fan_in) {
                (true, false) => 0.68,
                (false, true) => 0.34,
                _ => 0.5,
            };
            label_edge(&mut drawing, edge, &stops(route, &places), along);
        }
        drawing.finish(&self.title, &self.description)
    }

    fn has_ends(&self, edge: &Edge) -> bool {
        edge.from < self.nodes.len() && edge.to < self.nodes.len() && edge.from != edge.to
    }

    fn too_large(&self) -> Picture {
        let mut drawing = Drawing::new(640.0, 40.0);
        let text = format!(
            "{} nodes and {} edges are too many to draw; the table has them.",
            self.nodes.len(),
            self.edges.len()
        );
        drawing.text((12.0, 25.0), Anchor::Start, "dim", &text);
        drawing.finish(&self.title, &self.description)
    }

    /// Where all nodes lie, and how large the picture is.
    fn places(&self, layers: &[Vec<usize>], edges: &[&Edge]) -> (Vec<Place>, (f64, f64)) {
        let count = layers.iter().map(Vec::len).sum();
        let mut places = vec![Place::default(); count];
        let mut x = MARGIN;
        let mut tallest: f64 = 0.0;
        for (number, layer) in layers.iter().enumerate() {
            let mut y = MARGIN;
            let mut widest: f64 = 0.0;
            for id in layer {
                let (width, height) = self.nodes.get(*id).map_or((0.0, LINE), size);
                let Some(place) = places.get_mut(*id) else { continue };
                *place = Place { layer: number, x, y, width, height };
                widest = widest.max(width);
                y += height + BETWEEN_NODES;
            }
            tallest = tallest.max(y - BETWEEN_NODES);
            // Room for the longest text on the way to the next layer.
            let leaves = |edge: &&&Edge| layer.contains(&edge.from);
            let is_labelled = edges.iter().filter(leaves).count() <= LABELS_DRAWN;
            let labelled = edges.iter().filter(|edge| is_labelled && leaves(edge));
            let labels = labelled.map(|edge| widest_of(&edge.lines()));
            x += widest + BETWEEN_LAYERS.max(labels.fold(0.0, f64::max) + 34.0);
        }
        for layer in layers {
            let of_layer = |places: &[Place]| {
                let last = layer.last().and_then(|id| places.get(*id));
                last.map_or(0.0, |last| last.y + last.height)
            };
            let shift = (tallest - of_layer(&places)) / 2.0;
            for id in layer {
                if let Some(place) = places.get_mut(*id) {
                    place.y += shift;
                }
            }
        }
        for place in &mut places {
            // A bend passes its layer all along.
            let layer = layers.get(place.layer).into_iter().flatten();
            if place.width == 0.0 {
                place.width = layer
                    .filter_map(|id| self.nodes.get(*id))
                    .map(|node| size(node).0)
                    .fold(0.0, f64::max);
            }
        }
        let right = places.iter().map(|place| place.x + place.width).fold(0.0, f64::max);
        (places, (right.max(300.0) + MARGIN, tallest.max(40.0) + MARGIN))
    }
}

/// The layer of each node: right of everything that leads to it, but for edges that close a cycle.
fn layers(count: usize, edges: &[&Edge]) -> Vec<usize> {
    let mut layers = vec![0_usize; count];
    // Longest path; a cycle would raise its nodes for ever, so there are no more rounds than nodes,
    // and no layer lies beyond the last that a path could reach.
    for _ in 0..count {
        let mut is_settled = true;
        for edge in edges {
            let wanted = layers.get(edge.from).map_or(0, |layer| layer + 1);
            if let Some(layer) = layers.get_mut(edge.to)
                && *layer < wanted
                && wanted < count
            {
                *layer = wanted;
                is_settled = false;
            }
        }
        if is_settled {
            break;
        }
    }
    layers
}

/// The nodes and bends that an edge goes through; its bends are added to the layers of all.
fn route(edge: &Edge, of: &mut Vec<usize>) -> Vec<usize> {
    let layer = |of: &[usize], id: usize| of.get(id).copied().unwrap_or_default();
    let (first, last) = (layer(of, edge.from), layer(of, edge.to));
    let mut route = vec![edge.from];
    for passed in first + 1..last {
        route.push(of.len());
        of.push(passed);
    }
    route.push(edge.to);
    route
}

fn hops(route: &[usize]) -> impl Iterator<Item = (usize, usize)> {
    route.iter().copied().zip(route.iter().copied().skip(1))
}

/// The nodes and bends of each layer, in an order in which few edges cross.
fn layered(of: &[usize], hops: &[(usize, usize)]) -> Vec<Vec<usize>> {
    let mut by_layer: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (id, layer) in of.iter().enumerate() {
        by_layer.entry(*layer).or_default().push(id);
    }
    let mut layers: Vec<Vec<usize>> = by_layer.into_values().collect();
    for sweep in 0..SWEEPS {
        let mut ranks = vec![0.0; of.len()];
        for layer in &layers {
            let length = layer.len().max(1) as f64;
            for (rank, id) in layer.iter().enumerate() {
                if let Some(slot) = ranks.get_mut(*id) {
                    *slot = (rank as f64 + 0.5) / length;
                }
            }
        }
        let is_forward = sweep % 2 == 0;
        for layer in &mut layers {
            let middle = |id: usize| {
                let neighbours = hops.iter().filter_map(|(from, to)| match is_forward {
                    true if *to == id => ranks.get(*from),
                    false if *from == id => ranks.get(*to),
                    _ => None,
                });
                let (sum, count) =
                    neighbours.fold((0.0, 0.0), |(sum, count), rank| (sum + rank, count + 1.0));
                let own = ranks.get(id).copied().unwrap_or_default();
                if count > 0.0 { sum / count } else { own }
            };
            layer.sort_by(|a, b| middle(*a).total_cmp(&middle(*b)));
        }
    }
    layers
}

/// Letters in bold are wider than others by that factor.
const BOLD: f64 = 1.1;

fn widest_of(lines: &[String]) -> f64 {
    lines.iter().map(|line| width_of(line)).fold(0.0, f64::max)
}

/// The lines of a node's name as they are drawn.
fn name_of(node: &Node) -> Vec<String> {
    lines(&node.name, NAME, NAME_LINES)
}

fn size(node: &Node) -> (f64, f64) {
    let name = name_of(node);
    let widest = (widest_of(&name) * BOLD).max(widest_of(&node.lines).min(BOX_MAX)).max(60.0);
    (widest + 20.0, 16.0 + LINE * (name.len() + node.lines.len()) as f64)
}

fn draw_node(drawing: &mut Drawing, node: &Node, place: &Place) {
    let Place { x, y, width, height, .. } = *place;
    drawing.put(format_args!(
        "<rect class=\"box{}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" \
         rx=\"6\"/>",
        node.look.ending()
    ));
    let (x, y) = (x + 10.0, y + 18.0);
    let name = (node.name.as_str(), NAME, NAME_LINES);
    drawing.wrapped((x, y), Anchor::Start, "strong", name);
    let below = name_of(node).len();
    for (number, line) in node.lines.iter().enumerate() {
        let y = y + LINE * (below + number) as f64;
        drawing.clipped((x, y), Anchor::Start, "dim", (line, BOX_MAX));
    }
}

/// The points that an edge goes through: from the right side of a box to the left side of another,
/// and straight through the layers between; an edge that leads back goes from left to right sides.
fn stops(route: &[usize], places: &[Place]) -> Vec<(f64, f64)> {
    let all: Vec<&Place> = route.iter().filter_map(|id| places.get(*id)).collect();
    let [from, bends @ .., to] = all.as_slice() else { return Vec::new() };
    let middle = |place: &Place| place.y + place.height / 2.0;
    if from.layer >= to.layer {
        let below = |place: &Place| middle(place) + 8.0;
        return vec![(from.x, below(from)), (to.x + to.width + 7.0, below(to))];
    }
    let mut stops = vec![(from.x + from.width, middle(from))];
    for bend in bends {
        stops.extend([(bend.x, middle(bend)), (bend.x + bend.width, middle(bend))]);
    }
    stops.push((to.x - 7.0, middle(to)));
    stops
}

fn draw_edge(drawing: &mut Drawing, edge: &Edge, stops: &[(f64, f64)]) {
    let (Some((x, y)), Some((tip_x, tip_y))) = (stops.first(), stops.last()) else { return };
    let sign = if tip_x >= x { 1.0 } else { -1.0 };
    let mut path = format!("M{x:.1} {y:.1}");
    for ((x1, y1), (x2, y2)) in stops.iter().zip(stops.iter().skip(1)) {
        let bend = (x2 - x1).abs() / 2.0 * sign;
        let (a, b) = (x1 + bend, x2 - bend);
        path.push_str(&format!("C{a:.1} {y1:.1} {b:.1} {y2:.1} {x2:.1} {y2:.1}"));
    }
    let ending = edge.look.ending();
    drawing.put(format_args!(
        "<path class=\"edge{ending}\" d=\"{path}\"><title>{}</title></path><path \
         class=\"tip{ending}\" d=\"M{:.1} {tip_y:.1}l{:.1} -4.5v9z\"/>",
        escaped(&edge.label),
        tip_x + 7.0 * sign,
        -8.0 * sign
    ));
}

/// Writes the text of an edge beside its first stretch, or its last where many begin at one place:
/// `along` says how far on it, as far as the text has room there.
fn label_edge(drawing: &mut Drawing, edge: &Edge, stops: &[(f64, f64)], along: f64) {
    let stretches: Vec<_> = stops.iter().zip(stops.iter().skip(1)).collect();
    let stretch = if along > 0.6 { stretches.last() } else { stretches.first() };
    let (Some(((x1, y1), (x2, y2))), false) = (stretch, edge.label.is_empty()) else { return };
    let class = match edge.look {
        Look::Plain => "dim halo",
        Look::Good => "good halo",
        Look::Bad => "bad halo",
    };
    let lines = edge.lines();
    let half = widest_of(&lines) / 2.0;
    let (left, right) = (x1.min(*x2) + half + 4.0, x1.max(*x2) - half - 8.0);
    let wanted = x1 + (x2 - x1) * along;
    let x = if left < right { wanted.clamp(left, right) } else { x1.midpoint(*x2) };
    let along = if x1 == x2 { 0.5 } else { (x - x1) / (x2 - x1) };
    let eased = along * along * (3.0 - 2.0 * along);
    let above = 6.0 + LINE * (lines.len() as f64 - 1.0);
    let place = (x, y1 + (y2 - y1) * eased - above);
    drawing.wrapped(place, Anchor::Middle, class, (&edge.label, LABEL_MAX, LABEL_LINES));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> Node {
        Node { name: name.into(), lines: vec!["0.9".into()], look: Look::Plain }
    }

    fn edge(from: usize, to: usize, look: Look) -> Edge {
        Edge { from, to, label: format!("{from} to {to}"), look }
    }

    fn graph(nodes: usize, edges: Vec<Edge>) -> Graph {
        Graph {
            title: "Trust".into(),
            description: "who trusts whom".into(),
            nodes: (0..nodes).map(|id| node(&format!("n{id} <"))).collect(),
            edges,
        }
    }

    #[test]
    fn edges_lead_to_the_right_and_wrong_ones_are_red() {
        let plain = |from, to| edge(from, to, Look::Plain);
        let edges = vec![plain(0, 2), plain(1, 2), edge(2, 3, Look::Bad), plain(0, 3)];
        let graph = graph(4, edges);
        let all: Vec<&Edge> = graph.edges.iter().collect();
        assert_eq!(layers(4, &all), [0, 0, 1, 2]);
        let svg = graph.draw().inline();
        assert_eq!(svg.matches("class=\"edge-bad\"").count(), 1);
        assert_eq!(svg.matches("class=\"edge\"").count(), 3);
        assert!(svg.contains("n0 &lt;"));
    }

    #[test]
    fn cycles_and_edges_to_nowhere_are_drawn_without_end() {
        let edges = vec![
            edge(0, 1, Look::Plain),
            edge(1, 2, Look::Plain),
            edge(2, 0, Look::Good),
            edge(1, 1, Look::Plain),
            edge(7, 1, Look::Plain),
        ];
        let graph = graph(3, edges);
        let all: Vec<&Edge> = graph.edges.iter().filter(|edge| graph.has_ends(edge)).collect();
        assert!(layers(3, &all).iter().all(|layer| *layer < 3), "no layer beyond the nodes");
        assert_eq!(graph.draw().inline().matches("class=\"edge").count(), 3);
    }

    #[test]
    fn no_text_of_an_attack_graph_is_cut() {
        let mut graph = graph(3, vec![edge(0, 1, Look::Good), edge(1, 2, Look::Plain)]);
        let texts = [
            "masking, detection and recovery",
            "to 0.0765/y",
            "of administrators: confidentiality",
        ];
        graph.edges[0].label = texts[..2].join(" ");
        graph.nodes[0].name = texts[2].into();
        graph.nodes[1].lines = vec!["with all below 1 - 1.1e-4".into()];
        let svg = graph.draw().inline();
        assert!(!svg.contains('\u{2026}'), "{svg}");
        assert!(texts.join(" ").split(' ').all(|word| svg.contains(word)), "{svg}");
    }

    #[test]
    fn few_edges_cross() {
        // The two chains are listed in opposite orders.
        let edges = [edge(0, 3, Look::Plain), edge(1, 2, Look::Plain)];
        let all: Vec<&Edge> = edges.iter().collect();
        assert_eq!(layered(&layers(4, &all), &[(0, 3), (1, 2)]), [vec![0, 1], vec![3, 2]]);
    }

    #[test]
    fn a_graph_too_large_for_a_picture_says_so() {
        let svg = graph(5000, vec![]).draw().inline();
        assert!(svg.contains("5000 nodes") && svg.len() < 2000, "{svg}");
        assert!(graph(0, vec![]).draw().inline().starts_with("<svg"));
    }
}
