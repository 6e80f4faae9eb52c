module outrigger.dev/tests/lab/pause

go 1.26.0
