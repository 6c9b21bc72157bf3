//! Real incidents on real software, in namespaces of their own.
