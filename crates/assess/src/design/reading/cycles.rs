//! Finding circles.

use crate::design::fault::Mistake;

use super::faults::Faults;

/// How far the search has come with a node.
#[derive(Clone, Copy, PartialEq)]
enum Mark {
    New,
    OnPath,
    Done,
}

fn set(marks: &mut [Mark], at: usize, to: Mark) {
    if let Some(mark) = marks.get_mut(at) {
        *mark = to;
    }
}

/// A circle in a graph, as positions in the order in which each leads to the next; the last leads to
/// the first.
///
/// Cost: linear in nodes and edges; the search keeps its own stack, however long a path is.
pub(super) fn circle(edges: &[Vec<usize>]) -> Option<Vec<usize>> {
    let mut marks = vec![Mark::New; edges.len()];
    for start in 0..edges.len() {
        // The path from `start`, each node with the edge to follow next.
        let mut path: Vec<(usize, usize)> = Vec::new();
        if marks.get(start) == Some(&Mark::New) {
            path.push((start, 0));
        }
        while let Some((node, next)) = path.last_mut() {
            let (at, target) = (*node, edges.get(*node).and_then(|targets| targets.get(*next)));
            *next += 1;
            let Some(target) = target.copied() else {
                set(&mut marks, at, Mark::Done);
                path.pop();
                continue;
            };
            set(&mut marks, at, Mark::OnPath);
            if target == at || marks.get(target) == Some(&Mark::OnPath) {
                let nodes = path.iter().map(|(node, _)| *node);
                return Some(nodes.skip_while(|node| *node != target).collect());
            }
            if marks.get(target) == Some(&Mark::New) {
                path.push((target, 0));
            }
        }
    }
    None
}

/// Tells of a circle among named things.
pub(super) fn check(
    names: &[&str],
    edges: &[Vec<usize>],
    what: &'static str,
    line_of: impl Fn(usize) -> usize,
    faults: &mut Faults<'_>,
) {
    let Some(circle) = circle(edges) else { return };
    let first = circle.first().copied().unwrap_or_default();
    let around = circle.iter().chain([&first]).filter_map(|position| names.get(*position));
    let around: Vec<&str> = around.copied().collect();
    let shown = super::structure::shown_path(&around);
    let hint = "remove one of these steps".to_owned();
    faults.add_at(line_of(first), Mistake::Cycle { what, circle: shown }, hint);
}

#[cfg(test)]
mod tests {
    use super::circle;

    #[test]
    fn circles_are_found_and_nothing_else() {
        assert_eq!(circle(&[]), None);
        assert_eq!(circle(&[vec![1, 2], vec![2], vec![]]), None, "shared, not a circle");
        assert_eq!(circle(&[vec![0]]), Some(vec![0]));
        assert_eq!(circle(&[vec![1], vec![2], vec![1]]), Some(vec![1, 2]));
        assert_eq!(circle(&[vec![], vec![0, 2], vec![3], vec![1]]), Some(vec![1, 2, 3]));
        let long: Vec<Vec<usize>> = (1..=100_000).map(|next| vec![next % 100_000]).collect();
        assert_eq!(circle(&long).map(|path| path.len()), Some(100_000));
    }
}
