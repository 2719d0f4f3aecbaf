# SPDX-License-Identifier: Apache-2.0
"""The tests of Piglit that test_piglit.py runs: short ones, of many parts of OpenGL.

They were drawn by lot among those that pass on Zink on lavapipe."""

PROGRAMS = """
amd_vertex_shader_layer-layered-depth-texture-render amd_vertex_shader_viewport_index-render
arb_clear_buffer_object-zero-size arb_clear_texture-integer arb_color_buffer_float-getteximage
arb_compute_shader-render-and-compute arb_compute_variable_group_size-errors
arb_copy_buffer-data-sync arb_direct_state_access-create-queries
arb_direct_state_access-create-samplers arb_direct_state_access-get-textures
arb_draw_indirect-draw-arrays-base-instance arb_draw_indirect-draw-arrays-instances
arb_draw_indirect-draw-arrays-shared-binding arb_draw_instanced-elements
arb_get_program_binary-api-errors arb_get_program_binary-restore-sso-program
arb_get_texture_sub_image-cubemap arb_gpu_shader_int64-dlist-uniforms
arb_instanced_arrays-drawarrays arb_internalformat_query2-filter
arb_internalformat_query2-texture-compressed-block arb_pipeline_statistics_query-frag
arb_pipeline_statistics_query-vert_adj arb_seamless_cubemap-three-faces-average
arb_separate_shader_object-ActiveShaderProgram-invalid-program
arb_separate_shader_object-IsProgramPipeline arb_separate_shader_object-active-sampler-conflict
arb_shader_atomic_counters-array-indexing arb_shader_atomic_counters-default-partition
arb_shader_image_load_store-atomicity arb_shader_storage_buffer_object-minmax
arb_shader_subroutine-minmax arb_tessellation_shader-layout-mismatch
arb_texture_buffer_object-dlist arb_texture_buffer_object-fetch-outside-bounds
arb_texture_buffer_object-negative-bad-format arb_texture_cube_map_array-cubemap
arb_texture_multisample-teximage-2d-multisample arb_texture_stencil8-getteximage
arb_texture_storage-texture-storage-attach-before arb_texture_storage_multisample-tex-param
arb_texture_view-clear-into-view-2d-array_gles3 arb_texture_view-clear-into-view-layered_gles3
arb_texture_view-max-level arb_transform_feedback2-change-objects-while-paused
arb_transform_feedback3-end_query_with_name_zero arb_transform_feedback3-query_with_invalid_index
arb_transform_feedback_overflow_query-errors arb_uniform_buffer_object-bindbuffer-general-point
arb_uniform_buffer_object-rendering-array arb_vertex_array-isvertexarray arb_vertex_array_bgra-get
arb_vertex_buffer_object-combined-vertex-index arb_vertex_program-getlocal4f-max
arb_viewport_array-minmax_gles3 ati_fragment_shader-error06-regswizzle
ati_fragment_shader-error10-dotx ati_fragment_shader-error13-invalidarg
bindfragdata-invalid-parameters clearbuffer-mixed-format clearbuffer-stencil clip-flag-behavior
copyteximage-clipping depth-clamp-range draw-arrays-colormaterial es3-primrestart-fixedindex
ext_clear_texture-clear-max-level ext_direct_state_access-named-program
ext_direct_state_access-renderbuffer ext_disjoint_timer_query-simple
ext_framebuffer_multisample-alpha-blending ext_framebuffer_multisample-negative-copypixels
ext_polygon_offset_clamp-draw ext_transform_feedback-nonflat-integral
ext_transform_feedback-output-type fbo-depth-sample-compare fbo-fragcoord2
fbo-generatemipmap-nonsquare fp-formats fs-texelFetchOffset-2D geterror-invalid-enum
gl-1.0-empty-begin-end-clause gl-1.0-readpixels-oob gl-1.0-scissor-offscreen
gles-3.0-transform-feedback-uniform-buffer-object glsl-1.30-texel-offset-limits
glsl-1.50-query-gs-prim-types glsl-1.50-transform-feedback-builtins incomplete-texture
map_buffer_range_test nv_conditional_render-begin-zero nv_copy_depth_to_color
oes_required_internalformat-renderbuffer pos-array s3tc-targeted vao-element-array-buffer
vbo-map-unsync vertex-program-two-side vertexid-drawarrays
""".split()
