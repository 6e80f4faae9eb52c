//! Files whose blocks are unevenly spread over the nodes, drawn by a seed.

use outrigger_lab::FileSpec;

/// How many nodes there are.
pub const NODES: usize = 4;
/// Bytes of a block.
pub const BLOCK: u64 = 64 << 10;
/// Of its weight each node passes so much to the next one, in percent.
const PASSED: std::ops::RangeInclusive<u32> = 25..=70;

/// Files, their blocks, and the nodes that hold each block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// By file and block.
    pub files: Vec<Vec<Vec<usize>>>,
}

impl Layout {
    /// Files of 2 to 9 blocks with one or two copies. Most of them are on few nodes.
    pub fn draw(random: &mut fastrand::Rng, files: usize) -> Layout {
        let mut order: Vec<usize> = (0..NODES).collect();
        random.shuffle(&mut order);
        let passed = f64::from(random.u32(PASSED)) / 100.0;
        let mut weights = [0.0; NODES];
        for (rank, node) in order.into_iter().enumerate() {
            weights[node] = passed.powi(i32::try_from(rank).unwrap_or(i32::MAX));
        }
        let files = (0..files)
            .map(|_| {
                let copies = random.usize(1..=2);
                let blocks = random.usize(2..=9);
                (0..blocks)
                    .map(|_| holders(random, weights, copies))
                    .collect()
            })
            .collect();
        Layout { files }
    }

    /// The files as HDFS is to write them, below a directory, in order.
    pub fn specs(&self, directory: &str) -> Vec<FileSpec> {
        let files = self.files.iter().enumerate();
        files
            .map(|(number, blocks)| FileSpec::new(path(directory, number), BLOCK, blocks.clone()))
            .collect()
    }

    /// Their paths.
    pub fn paths(&self, directory: &str) -> Vec<String> {
        (0..self.files.len())
            .map(|number| path(directory, number))
            .collect()
    }
}

fn path(directory: &str, number: usize) -> String {
    format!("{directory}/part-{number}")
}

/// Different nodes, drawn by weight.
fn holders(random: &mut fastrand::Rng, mut weights: [f64; NODES], copies: usize) -> Vec<usize> {
    (0..copies)
        .map(|_| {
            let mut left = random.f64() * weights.iter().sum::<f64>();
            let drawn = weights.iter().position(|weight| {
                left -= weight;
                left < 0.0
            });
            // Rounding may leave a little over.
            let heaviest = || (0..NODES).max_by(|a, b| weights[*a].total_cmp(&weights[*b]));
            let node = drawn.or_else(heaviest).unwrap_or_default();
            weights[node] = 0.0;
            node
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_files_again_and_their_blocks_are_uneven() {
        for seed in 0..100 {
            let draw = || Layout::draw(&mut fastrand::Rng::with_seed(seed), 8);
            let layout = draw();
            assert_eq!(layout, draw());
            let mut counts = [0; NODES];
            for holders in layout.files.iter().flatten() {
                for node in holders {
                    counts[*node] += 1;
                }
                assert!(holders.len() == 1 || holders[0] != holders[1], "{seed}");
            }
            let [least, most] = [counts.iter().min(), counts.iter().max()];
            assert!(most > least, "{seed}: {counts:?}");
        }
    }
}
