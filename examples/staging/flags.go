package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/real-staging-ai/go-worker/examples/staging/localmodel"
)

type flags struct {
	addr                            string
	image, out, room, style, prompt string
	seed                            int64
}

// parseFlags reads the command line. Help goes to w, and is flag.ErrHelp.
func parseFlags(args []string, w io.Writer) (flags, error) {
	var f flags
	set := flag.NewFlagSet("staging", flag.ContinueOnError)
	set.SetOutput(io.Discard) // errors are told by run, in one line
	set.StringVar(&f.addr, "addr", "127.0.0.1:8080", "`address` to serve the page on; port 0 takes a free one")
	set.StringVar(&f.image, "image", "", "stage this `file` (JPEG, PNG or WebP) and end, without a page")
	set.StringVar(&f.out, "out", "", "`file` for the staged picture, .jpg or .png")
	set.StringVar(&f.room, "room", "", "`type` of room, one of\n"+names(localmodel.RoomTypes()))
	set.StringVar(&f.style, "style", "", "`style` of the furniture, one of\n"+names(localmodel.Styles()))
	set.StringVar(&f.prompt, "prompt", "", "`wishes` besides, such as \"warm light, no rug\"")
	set.Int64Var(&f.seed, "seed", 1, "`number` of the arrangement: the same one gives the same picture")

	err := set.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		say(w, "usage: staging [-addr 127.0.0.1:8080]\n"+
			"       staging -image in.jpg -out staged.jpg [-room …] [-style …] [-seed …] [-prompt …]\n\n")
		set.SetOutput(w)
		set.PrintDefaults()
	}
	if err != nil {
		return f, err
	}
	return f, f.check(set)
}

// check finds combinations that make no sense.
func (f flags) check(set *flag.FlagSet) error {
	if set.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", set.Arg(0))
	}
	if f.image != "" && f.out == "" {
		return errors.New("-image needs -out, the file to write")
	}
	var needless error
	set.Visit(func(given *flag.Flag) {
		if f.image == "" && given.Name != "addr" {
			needless = fmt.Errorf("-%s needs -image, the file to read: on the page people choose", given.Name)
		}
	})
	return needless
}

func names(options []localmodel.Option) string {
	list := make([]string, len(options))
	for i, o := range options {
		list[i] = o.Name
	}
	return strings.Join(list, ", ") + "\n(default " + list[0] + ")"
}
