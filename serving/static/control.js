// The control room.
