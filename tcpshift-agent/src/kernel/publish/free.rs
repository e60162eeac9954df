//! Numbers of tables, sets and chunks that are free.

/// Numbers of one kind that are free.
#[derive(Debug)]
pub(super) struct Numbers {
    again: Vec<u32>,
    next: u32,
    most: u32,
}

impl Numbers {
    /// From 1 on and below `most`: what is at 0 is never taken away.
    pub(super) fn new(most: u32) -> Self {
        Self { again: Vec::new(), next: 1, most }
    }

    pub(super) fn take(&mut self) -> Option<u32> {
        self.again.pop().or_else(|| {
            let number = self.next;
            (number < self.most).then(|| self.next += 1)?;
            Some(number)
        })
    }

    pub(super) fn give_back(&mut self, numbers: &[u32]) {
        self.again.extend(numbers);
    }
}
