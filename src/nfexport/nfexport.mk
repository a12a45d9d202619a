# Make rules for repositories that keep models: export, verify, hold to goldens. In a Makefile:
#
#     include $(shell nfexport makefile)
#
# NAME.onnx      from NAME.flags, a text file: a model's name and its flags, as on the command line, over any
#                number of lines; lines that begin with # are comments. Words cannot hold spaces.
# NAME.verified  a stamp: NAME.onnx equals its PyTorch model. Holds the report.
# NAME.checked   a stamp: NAME.onnx is what NAME.golden says (see 'nfexport golden'). Holds the report.
#
# Each is made anew only if what it is made from is newer, and gets its name only when it is whole, so any number
# of jobs may run (-j). What fails says why on stderr, and leaves nothing behind.
#
# Variables, to be set before or after the include, on make's command line, or for one target alone
# (models/a.verified: NFEXPORT_VERIFY_FLAGS = --checkpoint a.safetensors):
#
# NFEXPORT                the command
# NFEXPORT_FLAGS          flags for every export, after those of the file: --no-verify, say
# NFEXPORT_VERIFY_FLAGS   flags for every verification: --checkpoint FILE, --max-size 290MB
# NFEXPORT_GOLDEN_FLAGS   flags for every check of a golden: --numbers-only, --runtime NAME

NFEXPORT ?= nfexport
NFEXPORT_FLAGS ?=
NFEXPORT_VERIFY_FLAGS ?=
NFEXPORT_GOLDEN_FLAGS ?=

# a target whose recipe fails is no target
.DELETE_ON_ERROR:

# a file that is only a step to a stamp is kept all the same
.PRECIOUS: %.onnx %.verified %.checked

# -o comes last: the file is the target, whatever the flags say. set -f: a * among the flags is no pattern.
%.onnx: %.flags
	@echo "export $@"
	@set -f; $(NFEXPORT) export $$(sed '/^[[:space:]]*#/d' $<) $(NFEXPORT_FLAGS) -q -o $@

%.verified: %.onnx
	@echo "verify $<"
	@$(NFEXPORT) verify $< $(NFEXPORT_VERIFY_FLAGS) > $@.partial || \
	  { status=$$?; cat $@.partial >&2; rm -f $@.partial; exit $$status; }
	@mv $@.partial $@

# the manifest stands for all of a golden: it has the digest of every other file
%.checked: %.onnx %.golden/manifest.json
	@echo "check $<"
	@$(NFEXPORT) golden check $< $(NFEXPORT_GOLDEN_FLAGS) > $@.partial || \
	  { status=$$?; rm -f $@.partial; exit $$status; }
	@mv $@.partial $@

# runs only where there is none
%.golden/manifest.json:
	@echo "nfexport: there is no golden '$*.golden'; record one with '$(NFEXPORT) golden record $*.onnx'" >&2; exit 2
