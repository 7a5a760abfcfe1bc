//! What every adapter must hold to, as checks that each adapter's tests run.
