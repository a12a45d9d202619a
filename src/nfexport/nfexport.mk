# Make rules for repositories that keep models: export, verify, check against goldens. In a Makefile:
#
#     include $(shell nfexport makefile)
#
# NAME.onnx      from NAME.flags, a text file: a model's name and its flags, as on the command line, over any
#                number of lines; lines that begin with # are comments. Words cannot hold spaces.
# NAME.verified  a stamp: NAME.onnx equals its PyTorch model. Holds the report.
# NAME.checked   a stamp: NAME.onnx passes the check against NAME.golden (see 'nfexport golden'). Holds the report.
#
# Each is made again only if a prerequisite is newer, and gets its name only when it is complete, so any number of
# jobs may run (-j). A failure prints its reason on stderr, and leaves nothing behind.
#
# Variables, to be set before or after the include, on the command line of make, or for a single target
# (models/a.verified: NFEXPORT_VERIFY_FLAGS = --checkpoint a.safetensors):
#
# NFEXPORT                the command
# NFEXPORT_FLAGS          flags for every export, after those of the file, such as --no-verify
# NFEXPORT_VERIFY_FLAGS   flags for every verification: --checkpoint FILE, --max-size 290MB
# NFEXPORT_GOLDEN_FLAGS   flags for every check of a golden: --numbers-only, --runtime NAME

NFEXPORT ?= nfexport
NFEXPORT_FLAGS ?=
NFEXPORT_VERIFY_FLAGS ?=
NFEXPORT_GOLDEN_FLAGS ?=

# remove the target of a recipe that fails
.DELETE_ON_ERROR:

# keep files that are only a step to a stamp
.PRECIOUS: %.onnx %.verified %.checked

# -o comes last, so that the file is the target whatever the flags are. set -f: a * in the flags is not a pattern.
%.onnx: %.flags
	@echo "export $@"
	@set -f; $(NFEXPORT) export $$(sed '/^[[:space:]]*#/d' $<) $(NFEXPORT_FLAGS) -q -o $@

%.verified: %.onnx
	@echo "verify $<"
	@$(NFEXPORT) verify $< $(NFEXPORT_VERIFY_FLAGS) > $@.partial || \
	  { status=$$?; cat $@.partial >&2; rm -f $@.partial; exit $$status; }
	@mv $@.partial $@

# the manifest represents the whole golden: it holds the digest of every other file
%.checked: %.onnx %.golden/manifest.json
	@echo "check $<"
	@$(NFEXPORT) golden check $< $(NFEXPORT_GOLDEN_FLAGS) > $@.partial || \
	  { status=$$?; rm -f $@.partial; exit $$status; }
	@mv $@.partial $@

# runs only if it does not exist
%.golden/manifest.json:
	@echo "nfexport: there is no golden '$*.golden'; record one with '$(NFEXPORT) golden record $*.onnx'" >&2; exit 2
