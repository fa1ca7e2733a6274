"""What a teacher needs and a student does not: solutions, student versions, grading, the report."""
