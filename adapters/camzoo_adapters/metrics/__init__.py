"""What camzoo's metrics borrow from other libraries: each file knows one library."""
