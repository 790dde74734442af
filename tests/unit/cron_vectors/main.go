// Prints what robfig/cron v3, the parser of Kubernetes' CronJob, says is the next tick: one line for each expression and
// zone, with pairs of instants (Unix seconds): asked after, answered. An answer of 0 is "none within five years", -1 is
// none at all: the parser did not return. Expressions that it refuses stand in the first line.
//
// ZONEINFO=(folder of Python's tzdata package)/zoneinfo go run . > vectors.json makes the vectors of
// tests/unit/test_cron_vectors.py anew. The years end with 2024, so that no later change of the zones matters.
package main

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"time"

	"github.com/robfig/cron/v3"
)

var zones = []string{
	"UTC", "Europe/Berlin", "Europe/London", "Europe/Dublin", "America/New_York", "America/St_Johns", "America/Sao_Paulo",
	"America/Santiago", "America/Havana", "Australia/Sydney", "Australia/Lord_Howe", "Pacific/Auckland", "Pacific/Chatham",
	"Pacific/Apia", "Pacific/Kwajalein", "Pacific/Fakaofo", "Asia/Beirut", "Asia/Amman", "Asia/Tehran", "Asia/Gaza",
	"Asia/Kolkata", "Asia/Kathmandu", "Africa/Casablanca", "Africa/Cairo", "Antarctica/Troll", "America/Nuuk",
	"Asia/Pyongyang", "America/Caracas",
}

var expressions = []string{
	"* * * * *", "*/15 * * * *", "0 * * * *", "@hourly", "@daily", "@weekly", "@monthly", "@yearly", "30 2 * * *", "15 2 * * 0",
	"0 0 * * *", "30 0 * * *", "0 1 * * *", "30 1 * * *", "0 2 * * *", "0 3 * * *", "59 23 * * *", "*/20 1-3 * * *",
	"0 0 1 * *", "0 0 * * MON", "0 6 * * mon-fri", "5 0,12 13 * 5", "0 0 1-31 * 1", "0 0 ? * sun", "0 4 */2 * 3", "0 4 */1 * 3",
	"10/20 5 * * *", "0 0 29 2 *", "0 12 31 * *", "30 2 * 3,10 0", "7,37 0-4/2 1-7 JAN-mar,OCT-DEC *", "0 0 30 2 *",
}

var refused = []string{
	"", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * 32 * *", "* * * 13 *", "* * * * 8",
	"*/0 * * * *", "5-1 * * * *", "a * * * *", "* * * foo *", "1-2-3 * * * *", "1/2/3 * * * *", "-1 * * * *",
	"* * L * *", "* * * * MON#2", "@never", "@every x", "* * 15W * *", "H * * * *", "* * * * MONDAY",
}

type line struct {
	Cron  string     `json:"cron"`
	Zone  string     `json:"zone"`
	Ticks [][2]int64 `json:"ticks"`
}

func next(schedule cron.Schedule, after time.Time) int64 {
	answer := make(chan int64, 1)
	go func() {
		if tick := schedule.Next(after); tick.IsZero() {
			answer <- 0
		} else {
			answer <- tick.Unix()
		}
	}()
	select {
	case tick := <-answer:
		return tick
	case <-time.After(time.Second): // it goes round in circles, and will for as long as this program runs
		return -1
	}
}

// changes are the instants at which the clocks of a zone changed from 1990 to 2024, up to half an hour late.
func changes(location *time.Location) []time.Time {
	var found []time.Time
	last := time.Date(2024, 12, 31, 0, 0, 0, 0, time.UTC)
	for at := time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC).In(location); at.Before(last); at = at.Add(30 * time.Minute) {
		_, before := at.Add(-30 * time.Minute).Zone()
		if _, after := at.Zone(); before != after {
			found = append(found, at)
		}
	}
	return found
}

func main() {
	for _, text := range refused {
		if _, err := cron.ParseStandard(text); err == nil {
			fmt.Fprintln(os.Stderr, "not refused:", text)
			os.Exit(1)
		}
	}
	first, _ := json.Marshal(map[string]any{"refused": refused})
	fmt.Printf("[\n%s", first)
	random := rand.New(rand.NewSource(1))
	for _, zone := range zones {
		location, err := time.LoadLocation(zone)
		if err != nil {
			panic(err)
		}
		turns := changes(location)
		for _, expression := range expressions {
			schedule, err := cron.ParseStandard("CRON_TZ=" + zone + " " + expression)
			if err != nil {
				panic(err)
			}
			found := line{Cron: expression, Zone: zone}
			for i := 0; i < 8; i++ {
				after := time.Unix(631152000+random.Int63n(34*365*86400), 0)
				if i > 1 && len(turns) > 0 { // most of them around a change: within three days before, six hours after
					turn := turns[random.Intn(len(turns))]
					after = turn.Add(time.Duration(random.Intn(78*3600)-72*3600) * time.Second)
					if i%2 == 1 {
						after = turn.Add(time.Duration(random.Intn(18)-12) * 15 * time.Minute)
					}
				}
				found.Ticks = append(found.Ticks, [2]int64{after.Unix(), next(schedule, after)})
			}
			if zone == "Pacific/Apia" {
				after := time.Date(2011, 12, 28, 0, 0, 0, 0, time.UTC)
				found.Ticks = append(found.Ticks, [2]int64{after.Unix(), next(schedule, after)})
			}
			encoded, _ := json.Marshal(found)
			fmt.Printf(",\n%s", encoded)
		}
	}
	fmt.Print("\n]\n")
}
