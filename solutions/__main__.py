"""`python -m solutions` records what the solutions and the wrong answers of every notebook give."""

from tiramisu_edu.course.exercises import outcomes_path

from . import recorded

for number in range(1, 11):
    outcomes_path(number).write_text(recorded(number), encoding="utf-8")
    print(outcomes_path(number))
