//! Decide, in integers, what is true, who is trusted and who earns what
