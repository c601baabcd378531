"""What tune is made of: the study of trials, what trains one, here or in another process, and the record of both."""
