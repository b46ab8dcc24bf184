//! Graphs by index: an order in which everything comes after what it depends on, or the cycle.

use super::CalculusError;

/// Every node after all of its `edges`.
///
/// # Errors
/// [`CalculusError::Unknown`] of an index, [`CalculusError::Cycle`] with the names along it.
pub(super) fn order(
    edges: &[Vec<usize>],
    what: &'static str,
    name: &dyn Fn(usize) -> String,
) -> Result<Vec<usize>, CalculusError> {
    let count = edges.len();
    let mut stages = vec![Stage::New; count];
    let mut order = Vec::with_capacity(count);
    for start in 0..count {
        // The path from `start`, each node with the number of its edges already followed.
        let mut path = vec![(start, 0)];
        while let Some((node, followed)) = path.last_mut() {
            let node = *node;
            if *followed == 0 {
                match stage(&mut stages, node) {
                    Some(stage) if *stage == Stage::New => *stage = Stage::OnPath,
                    _ => {
                        path.pop();
                        continue;
                    }
                }
            }
            let next = edges.get(node).and_then(|edges| edges.get(*followed)).copied();
            *followed += 1;
            let Some(next) = next else {
                if let Some(stage) = stage(&mut stages, node) {
                    *stage = Stage::Done;
                }
                order.push(node);
                path.pop();
                continue;
            };
            match stage(&mut stages, next) {
                None => return Err(CalculusError::Unknown { what, index: next, count }),
                Some(Stage::OnPath) => return Err(cycle(&path, next, name)),
                Some(Stage::New) => path.push((next, 0)),
                Some(Stage::Done) => {}
            }
        }
    }
    Ok(order)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    New,
    OnPath,
    Done,
}

fn stage(stages: &mut [Stage], node: usize) -> Option<&mut Stage> {
    stages.get_mut(node)
}

fn cycle(path: &[(usize, usize)], again: usize, name: &dyn Fn(usize) -> String) -> CalculusError {
    let along = path.iter().map(|(node, _)| *node).skip_while(|node| *node != again);
    CalculusError::Cycle { names: along.chain([again]).map(name).collect() }
}
