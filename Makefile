# The usual steps by the names that many know; each is a line that calls what is there.
# More arguments: make run ARGS="--epochs 3"
.DEFAULT_GOAL = help
container = RUNBACK_ENGINE=$${RUNBACK_ENGINE:-container} ./run_script.bash

## make image           build the container's image (once for a lock)
image:
	$(container) --build

## make run             train in the container; with options: ARGS="--epochs 3"
run:
	$(container) python train_mlflow.py $(ARGS)

## make run_cli         a shell in the container
run_cli:
	$(container) bash

## make local_train     train in .venv, without a container
local_train:
	RUNBACK_ENGINE=venv ./run_script.bash python train_mlflow.py $(ARGS)

## make train_loss.pdf  plot the loss of the latest 5 runs, if they changed
train_loss.pdf: .runback/latest.tsv
	@sed 1d $< | grep -q . || { echo "error: no runs yet: make local_train, or make run" >&2; exit 1; }
	./run_script.bash runback plot $$(sed 1d $< | cut -f 1) --metric loss --output $@

# The latest runs and what they have logged; the file is replaced if that is something else now.
.runback/latest.tsv: always
	@mkdir -p $(@D)
	@./run_script.bash sh -c 'python -m runback index -q; python -m runback ls -n 5' >$@.new
	@if cmp -s $@.new $@; then rm $@.new && echo "the latest runs are as before"; \
	  else mv $@.new $@; fi

## make test            run the tests; others than all: ARGS=tests/test_plot.py
test:
	./run_script.bash pytest $(ARGS)

## make ui              open the MLflow UI on the runs
ui:
	./run_mlflow_ui.bash $(ARGS)

## make help            these lines
help:
	@sed -n 's/^## //p' Makefile

.PHONY: image run run_cli local_train test ui help always
