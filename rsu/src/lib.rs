//! Hear the road, judge it, serve it
