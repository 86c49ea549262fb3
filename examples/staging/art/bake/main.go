// Command bake turns POV-Ray's renderings into what the demonstration model embeds.
package main

import (
	"fmt"
	"os"
	"strconv"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bake:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 4 && args[0] == "develop":
		exposure, err := strconv.ParseFloat(args[3], 64)
		if err != nil {
			return err
		}
		return develop(args[1], args[2], exposure)
	case len(args) >= 4 && args[0] == "sprites":
		only := map[string]bool{}
		for _, name := range args[4:] {
			only[name] = true
		}
		b := &baker{art: args[1], work: args[2], out: args[3], light: true, reuse: os.Getenv("REUSE") != ""}
		return b.sprites(only)
	}
	return fmt.Errorf("usage: bake develop LINEAR.png PHOTO.jpg EXPOSURE | bake sprites ART WORK OUT [PIECE | PIECE-STYLE]...")
}
