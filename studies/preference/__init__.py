"""Which of two pictures do people prefer? A blind study of pairs for a class.

Whoever votes never sees the name of a method: pictures are known by codes, and the key stays with the teacher.

    python -m studies.preference page DIR_A DIR_B --out study.html     # study.html, and study.key.json
    python -m studies.preference report study.key.json votes/*.csv
"""
