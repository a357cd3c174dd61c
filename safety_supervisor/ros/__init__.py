"""The live edge: the lifecycle node, its messages, and the command gate. The only importer of rclpy."""
