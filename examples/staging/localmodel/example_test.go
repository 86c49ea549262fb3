package localmodel_test

import (
	"context"
	"fmt"
	"image"

	"github.com/real-staging-ai/go-worker/examples/staging/localmodel"
)

func ExampleModel_Render() {
	model, err := localmodel.New()
	if err != nil {
		fmt.Println(err)
		return
	}
	photo := image.NewRGBA(image.Rect(0, 0, 1200, 800)) // as decoded from an upload
	req := localmodel.Request{RoomType: "bedroom", Style: "scandinavian", Seed: 42}
	staged, err := model.Render(context.Background(), photo, req, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(staged.Bounds())
	// Output: (0,0)-(1200,800)
}

func ExampleRoomTypes() {
	for _, room := range localmodel.RoomTypes() {
		fmt.Printf("%s: %s\n", room.Name, room.Label)
	}
	// Output:
	// living_room: Living room
	// bedroom: Bedroom
	// dining_room: Dining room
	// office: Home office
	// kitchen: Kitchen
}
