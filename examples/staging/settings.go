package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/real-staging-ai/go-worker/examples/staging/localmodel"
)

// The roles that a process can have.
const (
	roleAll    = "all"    // both in one process
	roleAPI    = "api"    // serves the page
	roleWorker = "worker" // stages pictures
)

// settings are all that the program was told.
type settings struct {
	addr, role, data                string
	pace                            time.Duration
	image, out, room, style, prompt string
	seed                            int64

	redisURL, databaseURL string // from the environment
}

const usage = `usage: staging [-addr 127.0.0.1:8080] [-data DIR]
       staging -role api|worker -data DIR [-addr 127.0.0.1:8080]
       staging -image in.jpg -out staged.jpg [-room …] [-style …] [-seed …] [-prompt …]

  REDIS_URL     redis://…, a server instead of the embedded Redis
  DATABASE_URL  postgres://…, a server instead of SQLite

`

// readSettings reads the command line and the environment. Help goes to w, and is flag.ErrHelp.
func readSettings(args []string, getenv func(string) string, w io.Writer) (settings, error) {
	s := settings{redisURL: getenv("REDIS_URL"), databaseURL: getenv("DATABASE_URL")}
	set := flag.NewFlagSet("staging", flag.ContinueOnError)
	set.SetOutput(io.Discard) // errors are told by run, in one line
	set.StringVar(&s.addr, "addr", "127.0.0.1:8080", "`address` to serve the page on; port 0 takes a free one")
	set.StringVar(&s.role, "role", roleAll, "`part` of the program to be: api serves the page, worker stages pictures,\n"+
		"all does both. Parts share REDIS_URL, -data and DATABASE_URL")
	set.StringVar(&s.data, "data", "", "`directory` for pictures, and for SQLite, that is kept\n"+
		"(default: a temporary one, removed at exit)")
	set.DurationVar(&s.pace, "pace", 0, "`pause` after each step of the model, such as 2s, to have time to watch")
	set.StringVar(&s.image, "image", "", "stage this `file` (JPEG, PNG or WebP) and end, without a page")
	set.StringVar(&s.out, "out", "", "`file` for the staged picture, .jpg or .png")
	set.StringVar(&s.room, "room", "", "`type` of room, one of\n"+names(localmodel.RoomTypes()))
	set.StringVar(&s.style, "style", "", "`style` of the furniture, one of\n"+names(localmodel.Styles()))
	set.StringVar(&s.prompt, "prompt", "", "`wishes` besides, such as \"warm light, no rug\"")
	set.Int64Var(&s.seed, "seed", 1, "`number` of the arrangement: the same one gives the same picture")

	err := set.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		say(w, "%s", usage)
		set.SetOutput(w)
		set.PrintDefaults()
	}
	if err != nil {
		return s, err
	}
	return s, errors.Join(s.check(set), s.checkRole())
}

// check finds combinations that make no sense.
func (s settings) check(set *flag.FlagSet) error {
	if set.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", set.Arg(0))
	}
	if s.image != "" && s.out == "" {
		return errors.New("-image needs -out, the file to write")
	}
	if s.pace < 0 {
		return fmt.Errorf("-pace is %v: it must not be negative", s.pace)
	}
	var needless error
	set.Visit(func(given *flag.Flag) {
		forImage := slices.Contains([]string{"out", "room", "style", "prompt", "seed"}, given.Name)
		forPage := given.Name == "role" || given.Name == "data"
		switch {
		case forImage && s.image == "":
			needless = fmt.Errorf("-%s needs -image, the file to read: on the page people choose", given.Name)
		case forPage && s.image != "":
			needless = fmt.Errorf("-%s is for the page: -image stages one picture by itself", given.Name)
		}
	})
	return needless
}

// checkRole finds what a part of the program lacks to find the others.
func (s settings) checkRole() error {
	switch s.role {
	case roleAll:
		return nil
	case roleAPI, roleWorker:
	default:
		return fmt.Errorf("-role is %q: use %s, %s or %s", s.role, roleAll, roleAPI, roleWorker)
	}
	var missing []string
	if s.redisURL == "" {
		missing = append(missing, "REDIS_URL, a Redis server")
	}
	if s.data == "" {
		missing = append(missing, "-data, a directory")
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("-role %s needs what api and workers share: %s", s.role, strings.Join(missing, "; and "))
}

func names(options []localmodel.Option) string {
	list := optionNames(options)
	return strings.Join(list, ", ") + "\n(default " + list[0] + ")"
}

func optionNames(options []localmodel.Option) []string {
	list := make([]string, len(options))
	for i, o := range options {
		list[i] = o.Name
	}
	return list
}
