//! Plans, checks the safety rules, acts, measures, undoes.
