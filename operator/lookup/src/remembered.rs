use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Answers that are taken for granted for a while, because the question comes often at once.
pub(crate) struct Remembered<T> {
    answers: Mutex<BTreeMap<String, (Instant, T)>>,
    lifetime: Duration,
}

impl<T: Clone> Remembered<T> {
    pub(crate) fn new(lifetime: Duration) -> Remembered<T> {
        Remembered {
            answers: Mutex::default(),
            lifetime,
        }
    }

    pub(crate) fn get(&self, question: &str) -> Option<T> {
        let answers = self.answers.lock();
        let (since, answer) = answers.get(question)?;
        (since.elapsed() < self.lifetime).then(|| answer.clone())
    }

    pub(crate) fn insert(&self, question: &str, answer: T) {
        let mut answers = self.answers.lock();
        answers.retain(|_, (since, _)| since.elapsed() < self.lifetime);
        answers.insert(question.to_owned(), (Instant::now(), answer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_forgotten_after_its_time() {
        let remembered = Remembered::new(Duration::from_secs(5));
        remembered.insert("store", 1);
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(remembered.get("store"), Some(1));
        assert_eq!(remembered.get("bank"), None);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(remembered.get("store"), None);
    }
}
