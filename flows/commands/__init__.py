"""The commands of `evermodel`, by what they are about; `flows.cli` lists them all."""
