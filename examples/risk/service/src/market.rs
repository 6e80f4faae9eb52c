//! Market data in HDFS, each block read from the nearest DataNode that holds it.

use crate::service::Exposure;
use crate::webhdfs::{Block, NoAnswer, WebHdfs};

/// The market data cannot be added up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    /// HDFS gave no answer of use.
    #[error(transparent)]
    Hdfs(#[from] NoAnswer),
    /// A block has no copy.
    #[error("no DataNode holds the block at {offset} of {path}")]
    NoCopy {
        path: String,
        /// The byte of the file that the block begins with.
        offset: u64,
    },
}

/// All files below a path.
#[derive(Clone, Debug)]
pub(crate) struct Market {
    hdfs: WebHdfs,
    path: String,
    node: String,
}

impl Market {
    /// The files below `path`, read by a pod on `node`.
    pub(crate) fn new(hdfs: WebHdfs, path: String, node: &str) -> Self {
        Market {
            hdfs,
            path: path.trim_end_matches('/').to_owned(),
            node: node.to_owned(),
        }
    }

    /// Adds up all amounts in all files.
    pub(crate) async fn exposure(&self) -> Result<Exposure, Problem> {
        let mut exposure = Exposure::on(&self.node);
        let (mut blocks, mut local_bytes) = (0, 0);
        let mut paths = vec![self.path.clone()];
        while let Some(path) = paths.pop() {
            for entry in self.hdfs.list(&path).await? {
                let path = match entry.path_suffix.as_str() {
                    "" => path.clone(),
                    name => format!("{path}/{name}"),
                };
                if entry.kind == "DIRECTORY" {
                    paths.push(path);
                    continue;
                }
                exposure.files += 1;
                for block in self.hdfs.blocks(&path).await? {
                    blocks += 1;
                    exposure.total_bytes += block.length;
                    let local = self.add(&path, &block, &mut exposure).await?;
                    if local && !entry.ec_bit {
                        local_bytes += block.length;
                    }
                }
            }
        }
        exposure.blocks = Some(blocks);
        exposure.local_bytes = Some(local_bytes);
        Ok(exposure)
    }

    /// Adds the amounts of a block. Whether it came from our own node.
    async fn add(
        &self,
        path: &str,
        block: &Block,
        exposure: &mut Exposure,
    ) -> Result<bool, Problem> {
        let mut problem = Problem::NoCopy {
            path: path.to_owned(),
            offset: block.offset,
        };
        for holder in holders(block, &self.node) {
            match self.hdfs.read(path, block, holder.address).await {
                Ok(amounts) => {
                    exposure.amounts.merge(amounts);
                    return Ok(holder.local);
                }
                Err(no_answer) => {
                    let error = &no_answer as &dyn std::error::Error;
                    tracing::warn!(path, error, "A copy of a block was not read");
                    problem = no_answer.into();
                }
            }
        }
        Err(problem)
    }
}

/// A DataNode that holds a block.
#[derive(Debug, PartialEq, Eq)]
struct Holder<'a> {
    local: bool,
    address: &'a str,
}

/// The DataNodes that hold a block: the one on our node first, the others as the NameNode has them.
fn holders<'a>(block: &'a Block, node: &str) -> Vec<Holder<'a>> {
    let each = block.hosts.iter().zip(&block.names);
    let mut holders: Vec<Holder<'a>> = each
        .map(|(host, name)| Holder {
            local: is_host(host, node),
            address: name.rsplit_once(':').map_or(name, |(address, _)| address),
        })
        .collect();
    holders.sort_by_key(|holder| !holder.local);
    holders
}

/// Whether a DataNode's host name is a node's name, in short or in full, whatever the case.
fn is_host(host: &str, node: &str) -> bool {
    let short = |name: &str| {
        name.split('.')
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase()
    };
    match host.contains('.') == node.contains('.') {
        true => host.eq_ignore_ascii_case(node),
        false => short(host) == short(node),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_on_the_own_node_comes_first() {
        let block = Block {
            offset: 0,
            length: 8,
            hosts: vec!["node-2".into(), "NODE-1.example.com".into()],
            names: vec!["198.18.0.12:9866".into(), "198.18.0.11:9866".into()],
        };
        let addresses = |node| {
            let holders = holders(&block, node).into_iter();
            holders
                .map(|holder| (holder.local, holder.address))
                .collect::<Vec<_>>()
        };
        let local = (true, "198.18.0.11");
        assert_eq!(addresses("node-1"), [local, (false, "198.18.0.12")]);
        let others = [(false, "198.18.0.12"), (false, "198.18.0.11")];
        assert_eq!(addresses("node-3"), others);
    }

    #[test]
    fn a_host_is_its_node_in_short_and_in_full() {
        for (host, node, expected) in [
            ("node-1", "node-1", true),
            ("Node-1", "node-1", true),
            ("node-1.example.com", "node-1", true),
            ("node-1", "node-1.example.com", true),
            ("node-1.a.com", "node-1.b.com", false),
            ("node-1", "node-10", false),
            ("node-10.example.com", "node-1", false),
        ] {
            assert_eq!(is_host(host, node), expected, "{host} and {node}");
        }
    }
}
