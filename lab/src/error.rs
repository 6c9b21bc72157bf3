//! What can go wrong with a lab: it cannot be here, it was asked for wrongly, or it failed.

/// Why a lab is not there.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// This machine cannot hold a lab (not root, packages missing, no namespaces). A test skips, aloud.
    #[error("skip, because {because}")]
    Skip {
        /// What is missing and what would bring it.
        because: String,
    },
    /// The caller asked for something that does not exist: a scenario, a parameter, an instance, a host.
    #[error("{0}")]
    Usage(String),
    /// The lab should work here and did not.
    #[error("{0:#}")]
    Failed(#[from] anyhow::Error),
}

impl LabError {
    /// Whether the lab is impossible here rather than broken.
    pub fn is_skip(&self) -> bool {
        matches!(self, Self::Skip { .. })
    }
}

impl From<std::io::Error> for LabError {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.into())
    }
}
