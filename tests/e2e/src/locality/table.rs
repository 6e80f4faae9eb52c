//! What came of layouts, as a table for people.

use std::fmt::Write;

/// Local bytes of pods by how they were placed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Achieved {
    /// Bytes of all pods' data, each pod's counted.
    pub bytes: u64,
    /// The most that can be local.
    pub optimum: u64,
    /// By Outrigger, which pods had to follow.
    pub required: u64,
    /// By Outrigger, whose wish the scheduler weighed against others.
    pub preferred: u64,
    /// By the scheduler alone.
    pub scheduler: u64,
}

impl Achieved {
    fn add(&mut self, other: &Achieved) {
        self.bytes += other.bytes;
        self.optimum += other.optimum;
        self.required += other.required;
        self.preferred += other.preferred;
        self.scheduler += other.scheduler;
    }

    fn cells(&self) -> String {
        [self.optimum, self.required, self.preferred, self.scheduler]
            .map(|bytes| percent(bytes, self.bytes))
            .join(" | ")
    }
}

/// One layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What it is, in a few words.
    pub layout: String,
    /// Pods that read one file each.
    pub job: Achieved,
    /// Pods that read all files.
    pub deployment: Achieved,
}

/// The table in Markdown, with a row for the sums.
pub fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| layout | Job: optimum | Required | Preferred | scheduler alone | Deployment: optimum | Required | Preferred | scheduler alone |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    let mut all = Row {
        layout: "all".to_owned(),
        job: Achieved::default(),
        deployment: Achieved::default(),
    };
    for row in rows {
        all.job.add(&row.job);
        all.deployment.add(&row.deployment);
    }
    for Row {
        layout,
        job,
        deployment,
    } in rows.iter().chain([&all])
    {
        let _ = writeln!(
            text,
            "| {layout} | {} | {} |",
            job.cells(),
            deployment.cells()
        );
    }
    text
}

fn percent(bytes: u64, of: u64) -> String {
    let tenths = (bytes * 1000 + of / 2).checked_div(of).unwrap_or(0);
    format!("{}.{} %", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_rounded_and_summed() {
        let achieved = |bytes, optimum| Achieved {
            bytes,
            optimum,
            ..Achieved::default()
        };
        let row = |bytes, optimum| Row {
            layout: "1".to_owned(),
            job: achieved(bytes, optimum),
            deployment: Achieved::default(),
        };
        let text = table(&[row(3, 2), row(1, 1)]);
        assert!(text.contains("| 1 | 66.7 % | 0.0 %"), "{text}");
        assert!(text.contains("| all | 75.0 % |"), "{text}");
    }
}
