//! Adding up amounts: signed little-endian integers of 4 bytes each.

use serde::Serialize;

/// Bytes of an amount.
const WIDTH: usize = size_of::<i32>();

/// What a run of amounts comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Amounts {
    /// How many there are.
    pub(crate) amounts: u64,
    /// Their sum.
    pub(crate) sum: i128,
    /// The smallest one.
    pub(crate) smallest: Option<i32>,
    /// The largest one.
    pub(crate) largest: Option<i32>,
}

impl Amounts {
    fn add(&mut self, amount: i32) {
        self.amounts += 1;
        self.sum += i128::from(amount);
        self.smallest = Some(self.smallest.map_or(amount, |least| least.min(amount)));
        self.largest = Some(self.largest.map_or(amount, |most| most.max(amount)));
    }

    /// Adds those of another run.
    pub(crate) fn merge(&mut self, other: Amounts) {
        self.amounts += other.amounts;
        self.sum += other.sum;
        self.smallest = match (self.smallest, other.smallest) {
            (Some(ours), Some(theirs)) => Some(ours.min(theirs)),
            (ours, theirs) => ours.or(theirs),
        };
        // For `max`, unlike `min`, none is less than any.
        self.largest = self.largest.max(other.largest);
    }
}

/// Amounts out of pieces that end anywhere, as a network delivers them.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    found: Amounts,
    /// The beginning of an amount whose end is yet to come: fewer than 4 bytes.
    begun: Vec<u8>,
    bytes: u64,
}

impl Reader {
    /// Takes the next piece.
    pub(crate) fn take(&mut self, mut piece: &[u8]) {
        self.bytes += piece.len() as u64;
        while !self.begun.is_empty() && !piece.is_empty() {
            self.begun.push(piece[0]);
            piece = &piece[1..];
            if let Ok(amount) = self.begun.as_slice().try_into() {
                self.found.add(i32::from_le_bytes(amount));
                self.begun.clear();
            }
        }
        let (amounts, rest) = piece.as_chunks::<WIDTH>();
        for amount in amounts {
            self.found.add(i32::from_le_bytes(*amount));
        }
        self.begun.extend_from_slice(rest);
    }

    /// Bytes taken so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What they come to. If the last amount is not complete, its missing bytes count as zeros.
    pub(crate) fn finish(mut self) -> Amounts {
        if !self.begun.is_empty() {
            let mut last = [0; WIDTH];
            last[..self.begun.len()].copy_from_slice(&self.begun);
            self.found.add(i32::from_le_bytes(last));
        }
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], piece: usize) -> Amounts {
        let mut reader = Reader::default();
        bytes.chunks(piece).for_each(|piece| reader.take(piece));
        assert_eq!(reader.bytes(), bytes.len() as u64);
        reader.finish()
    }

    #[test]
    fn the_sum_is_the_same_wherever_the_pieces_end() {
        let amounts = [7, -1_000_000, i32::MAX, i32::MIN, 0, 42];
        let bytes: Vec<u8> = amounts.into_iter().flat_map(i32::to_le_bytes).collect();
        let expected = Amounts {
            amounts: 6,
            sum: amounts.into_iter().map(i128::from).sum(),
            smallest: Some(i32::MIN),
            largest: Some(i32::MAX),
        };
        for piece in 1..=bytes.len() {
            assert_eq!(read(&bytes, piece), expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn an_amount_that_is_cut_off_is_filled_up_with_zeros() {
        let found = read(&[1, 0, 0, 0, 2, 1], 6);
        assert_eq!((found.amounts, found.sum), (2, 1 + 2 + 256));
    }

    #[test]
    fn two_runs_together_are_one_run() {
        let bytes: Vec<u8> = [-5, 3, 9].into_iter().flat_map(i32::to_le_bytes).collect();
        let mut merged = read(&bytes[..4], 4);
        merged.merge(read(&bytes[4..], 4));
        merged.merge(Amounts::default());
        assert_eq!(merged, read(&bytes, 12));
    }
}
